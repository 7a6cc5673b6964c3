"""An ordinary task whose tests write a report: the answer names it, with the counts and the failures."""

from __future__ import annotations

from tests.support.attempts import Bench

from haikud.contracts.states import AttemptOutcome

REPORTING = """
mkdir -p reports coverage
echo '{"total": {"lines": {"pct": 75.5}}}' > coverage/coverage-summary.json
printf '<testsuite name="s"><testcase name="good"/><testcase file="src/a.test.ts" name="bad">' > reports/junit.xml
printf '<failure message="expected 1, got 2"/></testcase></testsuite>' >> reports/junit.xml
echo 'Error: 1 test failed'; exit 1
"""


def test_a_failing_tasks_error_report_names_its_test_report_and_counts(bench: Bench):
    bench.order("echo x > calc.py; git commit -qam Change", files=["calc.py"], context={"test_command": REPORTING})
    result = bench.run()
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    report = result.error_report
    assert report is not None
    assert (report.type, report.error.code) == ("test_failure", "TEST_FAILURE")
    assert report.error.message == "The tests failed with exit code 1: 1 passed, 1 failed"
    assert report.artifacts.test_report == str(bench.worktree / "reports" / "junit.xml")
    assert result.payload["test_results"] == {
        "tests": {"passed": 1, "failed": 1},
        "coverage": {"lines": 75.5},
        "failures": [{"file": "src/a.test.ts", "name": "bad", "message": "expected 1, got 2"}],
        "reports": ["reports/junit.xml"],
    }
    assert result.evidence is not None
    assert result.evidence.files_changed == ["calc.py"]  # reports are not committed
    assert [run.reports for run in result.evidence.verification] == [["reports/junit.xml"]] * 2
