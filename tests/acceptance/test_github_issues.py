"""Issues on GitHub from outside: the real daemon, the real gh, a double of GitHub's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.github_double import REPOSITORY, TOKEN, Fault, GitHubDouble, limited, needs_gh
from tests.support.house import House
from tests.support.repository import git

NOSY = r"""
env -0 > "$HAIKUD_OUT/environment"
cat /proc/$PPID/environ /proc/$PPID/cmdline > "$HAIKUD_OUT/of-the-runner" 2> /dev/null
echo "it broke: ask @somebody"
exit 1
"""

pytestmark = needs_gh


@pytest.fixture
def double(tmp_path: Path) -> Iterator[GitHubDouble]:
    double = GitHubDouble(tmp_path)
    yield double
    double.close()


@pytest.mark.timeout(240)
def test_ten_issues_in_one_attempt_and_a_task_with_an_issue_of_its_own(house: House, double: GitHubDouble):
    house.environment = {**double.environment, "GH_ENTERPRISE_TOKEN": TOKEN}
    house.settings = {"issues": "github"}
    git(house.repository, "remote", "add", "origin", f"git@github.example:{REPOSITORY}.git")
    house.role("nosy", NOSY)
    house.start()

    bug = {"title": "It breaks", "actual": "a crash", "expected": "none", "steps": "start it"}
    issues = [{"title": f"Number {number}", "labels": ["batch"]} for number in range(1, 10)]
    issues.append({"template": "bug", "variables": bug})
    double.fail("POST", *[Fault()] * 4, limited(0))
    house.drop(
        "incoming",
        "batch.json",
        {"task_id": "batch", "agent": "issue-orchestrator", "task": "create_issues", "params": {"issues": issues}},
    )
    batch = house.response("batch", seconds=100)
    assert batch["status"] == "success", batch
    payload = batch["payload"]
    assert (payload["success"], payload["created"], batch["metrics"]["cost_usd"]) == (True, 10, 0)
    assert [one["issue_number"] for one in payload["issues"]] == list(range(1, 11))
    assert payload["issues"][0]["issue_url"] == f"https://{double.host}/{REPOSITORY}/issues/1"
    assert not (house.task_folder("batch") / "attempt-2").exists()
    assert (len(double.asked("GET")), len(double.asked("POST"))) == (1, 11)
    assert double.issues[10]["labels"] == [{"name": "bug"}]
    assert "## What happens\n\na crash" in double.issues[10]["body"]

    house.request("nosy", role="nosy", steps=["Look around"])
    nosy = house.response("nosy", seconds=100)
    assert (nosy["status"], nosy["payload"]["issue_number"]) == ("failure", 11)
    issue, (failed,) = double.issues[11], double.comments[11]
    assert (issue["state"], issue["body"].splitlines()[0]) == ("open", "- Look around")
    assert nosy["payload"]["error_report"]["artifacts"]["github_issue"] == issue["html_url"]
    assert house.log("nosy").index("issue #11") < house.log("nosy").index("worktree ")
    assert "Attempt 1 ended: exited_with_error" in failed["body"]
    assert "```\nit broke: ask @somebody\n```" in failed["body"]

    out = house.task_folder("nosy") / "attempt-1/out"
    assert b"ISSUE_NUMBER=11" in (out / "environment").read_bytes()
    assert (out / "of-the-runner").exists()
    for path in [*house.spool.rglob("*"), *house.repository.rglob("*"), house.root / "daemon.log"]:
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
