"""Operations that need no model, on real runners."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.attempts import Bench
from tests.support.repository import TEST_COMMAND, git

from haikud.contracts.attempt import Result
from haikud.contracts.error_report import ErrorType
from haikud.contracts.states import AttemptOutcome
from haikud.spool.issues import IssueTracker

NAMES = ["create_issue", "create_issues", "update_issue", "comment_issue", "close_issue", "add_labels", "list_issues"]
NAMES += [
    "link_issues",
    "create_worktree",
    "list_worktrees",
    "worktree_status",
    "remove_worktree",
    "run_tests",
    "unheard_of",
]


def operate(bench: Bench, operation: str, params: dict[str, Any], **more: Any) -> Result:
    more.setdefault("with_worktree", False)
    bench.order(operation=operation, params=params, role={"operations": NAMES}, **more)
    return bench.run(key=None)


def test_an_issue_is_created_once_however_often_it_is_tried(bench: Bench):
    params = {"title": "Implement logout button", "body": "Add it", "labels": ["feature", "auth"]}
    for _ in range(2):
        result = operate(bench, "create_issue", params)
        assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
        assert result.payload["success"] is True
        assert (result.payload["issue_number"], result.issue_number) == (1, 1)
        assert result.payload["issue_url"] == (bench.spool.issues / "1.json").as_uri() == result.issue_url
        assert result.usage.cost_usd == 0
    (issue,) = IssueTracker(bench.spool.issues).list()
    assert (issue.title, issue.labels) == ("Implement logout button", ["feature", "auth"])


def test_a_batch_of_issues_and_what_can_be_done_with_one(bench: Bench):
    batch = [{"title": "a"}, {"title": "b", "labels": ["x"]}]
    result = operate(bench, "create_issues", {"issues": batch})
    assert [(each["issue_number"], each["title"]) for each in result.payload["issues"]] == [(1, "a"), (2, "b")]
    operate(bench, "update_issue", {"issue_number": 1, "title": "A", "comment": "renamed"})
    operate(bench, "comment_issue", {"issue_number": "#1", "body": "hello"})
    operate(bench, "add_labels", {"issue_number": 2, "labels": ["y", "x"]})
    operate(bench, "link_issues", {"issue_number": 2, "links": [1]})
    assert operate(bench, "close_issue", {"issue_number": 1}).payload["state"] == "closed"
    found = operate(bench, "list_issues", {"state": "open"}).payload
    assert (found["count"], found["issues"][0]["labels"]) == (1, ["x", "y"])
    issue = IssueTracker(bench.spool.issues).get(1)
    assert (issue.title, [comment.body for comment in issue.comments]) == ("A", ["renamed", "hello"])
    assert IssueTracker(bench.spool.issues).get(2).links == ["#1"]


@pytest.mark.parametrize(
    ("operation", "params", "code", "word"),
    [
        ("create_issue", {"body": "no title"}, "BAD_PARAMS", "params.title"),
        ("create_issue", {"title": 7}, "BAD_PARAMS", "params.title"),
        ("close_issue", {"issue_number": 5}, "NO_SUCH_ISSUE", "5"),
        ("remove_worktree", {"name": "nobody"}, "NO_SUCH_WORKTREE", "nobody"),
        ("create_worktree", {"name": "-f"}, "BAD_PARAMS", "-f"),
        ("create_worktree", {"name": "x", "base": "--all"}, "NO_SUCH_BASE", "--all"),
        ("run_tests", {}, "NO_TEST_COMMAND", "test_command"),
        ("unheard_of", {}, "UNKNOWN_OPERATION", "create_issue"),
    ],
)
def test_what_cannot_be_done_says_why(bench: Bench, operation: str, params: dict[str, Any], code: str, word: str):
    result = operate(bench, operation, params)
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.payload == {"success": False}
    report = result.error_report
    assert report is not None
    assert (report.type, report.error.code) == (ErrorType.INVALID_REQUEST, code)
    assert word in report.error.message


def test_worktrees_are_created_listed_inspected_and_removed_without_losing_work(bench: Bench):
    made = operate(bench, "create_worktree", {"task_id": "task-9"}).payload
    where = {"worktree": "worktrees/task-9", "branch": "feature/task-9"}
    assert made["success"] is True
    assert {name: made[name] for name in where} == where
    worktree = bench.repository / "worktrees/task-9"
    assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD") == "feature/task-9"
    (worktree / "new.txt").write_text("x")
    assert operate(bench, "worktree_status", {"name": "task-9"}).payload["uncommitted"] == ["new.txt"]
    listed = operate(bench, "list_worktrees", {}).payload["worktrees"]
    assert [each["name"] for each in listed] == ["task-9"]

    refused = operate(bench, "remove_worktree", {"name": "task-9"})
    assert refused.error_report is not None
    assert refused.error_report.error.code == "WORK_IN_DANGER"
    (worktree / "new.txt").unlink()
    link = bench.spool.link("queued", "task-9")
    link.parent.mkdir(parents=True)
    link.symlink_to("nowhere")
    refused = operate(bench, "remove_worktree", {"name": "task-9"})
    assert refused.error_report is not None
    assert refused.error_report.error.code == "IN_USE"
    link.unlink()
    assert operate(bench, "remove_worktree", {"name": "task-9"}).payload["removed"] is True
    assert not worktree.exists()


def test_a_test_run_reports_counts_and_changes_nothing(bench: Bench):
    result = operate(
        bench, "run_tests", {}, context={"test_command": f"echo x > report.xml; {TEST_COMMAND}"}, with_worktree=True
    )
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.payload["success"] is True
    assert result.payload["tests"] == {"passed": 1, "failed": 0}
    assert result.summary == "All tests pass: 1 passed, 0 failed"
    assert result.evidence is not None
    assert (result.evidence.tests_passing, result.evidence.commits) == (True, 0)

    result = operate(bench, "run_tests", {"command": "echo '8/10 passing'; exit 1"}, with_worktree=True)
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.payload["success"] is False
    assert result.payload["tests"] == {"passed": 8, "failed": 2}
    assert result.error_report is not None
    assert result.error_report.error.code == "TEST_FAILURE"
