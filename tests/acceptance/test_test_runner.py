"""The guide's Coordination Example 1, from the dropped file to the response: tests are delegated to the test-runner.

Three kinds of tests, their numbers, the coverage, the duration and the cost. The programs are real ones of Python's
standard library on a project of this test; no model is asked.
"""

from __future__ import annotations

import json

from tests.support.house import House
from tests.support.repository import git

SUITE = "import unittest\n\n\nclass T(unittest.TestCase):\n    pass\n\n\nfor n in range({count}):\n"
TESTS = SUITE + "    setattr(T, f'test_{{n}}', lambda self: self.assertEqual(1, 1))\n"
COVERAGE = {"statements": 87.3, "branches": 82.1, "functions": 91.2, "lines": 86.9}


def test_coordination_example_1_simple_task_delegation(house: House):
    folder = house.repository / "suites"
    folder.mkdir()
    for name, count in (("unit", 45), ("integration", 12), ("e2e", 10)):
        (folder / f"{name}.py").write_text(TESTS.format(count=count), encoding="utf-8")
    summary = {"total": {name: {"pct": percent} for name, percent in COVERAGE.items()}}
    (folder / "coverage.json").write_text(json.dumps(summary), encoding="utf-8")
    git(house.repository, "add", "-A")
    git(house.repository, "commit", "-qm", "Add three suites")
    collect = "mkdir -p coverage && cp suites/coverage.json coverage/coverage-summary.json"
    commands = {
        "unit": f"python3 -m unittest suites.unit && {collect}",
        "integration": "python3 -m unittest suites.integration",
        "e2e": "python3 -m unittest suites.e2e",
    }
    house.start()
    request = {"agent": "test-runner", "task": "run_tests", "params": {"commands": commands}}
    house.drop("incoming", "full-suite.json", request)
    response = house.response("full-suite")
    payload, metrics = response["payload"], response["metrics"]
    assert (response["status"], response["sender"]) == ("success", "test-runner"), house.tail()
    assert response["message_type"] == "task_completion"
    assert payload["success"] is payload["tests_passing"] is True
    suites = {suite["name"]: suite for suite in payload["suites"]}
    assert list(suites) == ["unit", "integration", "e2e"]
    assert {name: (suite["passed"], suite["total"]) for name, suite in suites.items()} == {
        "unit": (45, 45),
        "integration": (12, 12),
        "e2e": (10, 10),
    }
    assert all(suite["seconds"] > 0 for suite in suites.values())
    assert abs(payload["seconds"] - sum(suite["seconds"] for suite in suites.values())) < 0.01
    assert payload["tests"] == {"passed": 67, "failed": 0}
    assert payload["coverage"] == COVERAGE
    assert payload["failures"] == []
    lines = payload["summary"].splitlines()
    assert lines[0].startswith("✅ Unit tests: 45/45 passing (")
    assert lines[3] == "Coverage: statements 87.3%, branches 82.1%, functions 91.2%, lines 86.9%"
    assert lines[-1] == "All tests passing! ✅"
    assert (metrics["cost_usd"], metrics["tokens_used"]) == (0, 0)
    assert metrics["duration_seconds"] >= payload["seconds"]
    assert (payload["commits"], payload["files_changed"]) == (0, [])
    log = house.log("full-suite")
    assert log.index("Unit tests: 45/45 passing") < log.index("Integration tests: running") < log.index("E2E tests: 10")
