"""The issue of a task: opened before the worktree, told how each attempt ended, closed by success alone."""

from __future__ import annotations

import pytest
from tests.support.house import House

from haikud.spool.issues import IssueTracker


@pytest.fixture
def house(tmp_path):
    built = House(tmp_path / "house", settings={"issues": "local"})
    yield built
    built.close()


def test_an_issue_a_task_over_all_its_attempts_and_ten_in_one_batch(house: House):
    house.role("stumbles", 'echo "issue $ISSUE_NUMBER"; [ "$HAIKUD_ATTEMPT" = 2 ] || exit 75')
    house.role("fails", "echo broken; exit 1")
    house.role("told", 'echo "issue $ISSUE_NUMBER"')
    house.start()
    house.request("good", role="stumbles", steps=["First this"])
    good = house.response("good")
    house.request("bad", role="fails")
    bad = house.response("bad")
    house.request("named", role="told", issue_number=41)
    named = house.response("named")

    tracker = IssueTracker(house.spool / "issues")
    assert (good["status"], good["payload"]["issue_number"]) == ("success", 1)
    issue = tracker.get(1)
    assert (issue.title, issue.state, issue.body) == ("Do good", "closed", "- First this")
    assert ["Attempt 1 ended: exited_with_error" in issue.comments[0].body, len(issue.comments)] == [True, 2]
    assert good["payload"]["issue_url"] == tracker.url(1)
    assert house.log("good").count("agent | issue 1") == 2

    assert bad["payload"]["issue_number"] == 2
    assert tracker.get(2).state == "open"
    assert bad["payload"]["error_report"]["error"]["message"] in tracker.get(2).comments[0].body
    assert bad["payload"]["error_report"]["artifacts"]["github_issue"] == tracker.url(2)

    assert named["payload"]["issue_number"] == 41
    assert "agent | issue 41" in house.log("named")
    assert len(tracker.list()) == 2

    params = {"issues": [{"title": f"Number {number}", "links": [1]} for number in range(1, 11)]}
    house.drop("incoming", "batch.json", {"agent": "issue-orchestrator", "task": "create_issues", "params": params})
    batch = house.response("batch")
    assert (batch["status"], batch["payload"]["created"], batch["metrics"]["cost_usd"]) == ("success", 10, 0)
    assert [one["issue_number"] for one in batch["payload"]["issues"]] == list(range(3, 13))
    assert {path.name for path in house.task_folder("batch").glob("attempt-*")} == {"attempt-1"}
    assert [issue.title for issue in IssueTracker(house.spool / "issues").list()][11] == "Number 10"
