"""Operations that need no model, on real runners."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.attempts import Bench
from tests.support.repository import TEST_COMMAND, git

from haikud.agent.endings import Failed
from haikud.agent.operations.params import read_params
from haikud.agent.operations.tests import TestRun, kinds_of
from haikud.agent.testing.words import kind_label
from haikud.contracts.attempt import AttemptEvent, EventKind, Result
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
        ("run_tests", {"command": "true", "report": "../x.xml"}, "BAD_PARAMS", "outside"),
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
    assert result.summary.splitlines()[-1] == "All tests passing! ✅"
    assert result.summary.startswith("✅ Tests: 1/1 passing (")
    assert result.payload["suites"][0]["total"] == 1
    assert any("report.xml" in warning for warning in result.warnings)  # which is no XML
    assert result.evidence is not None
    assert (result.evidence.tests_passing, result.evidence.commits) == (True, 0)

    result = operate(bench, "run_tests", {"command": "echo '8/10 passing'; exit 1"}, with_worktree=True)
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.payload["success"] is False
    assert result.payload["tests"] == {"passed": 8, "failed": 2}
    assert result.error_report is not None
    assert result.error_report.error.code == "TEST_FAILURE"
    assert result.error_report.error.message == "The tests failed with exit code 1: 8 passed, 2 failed"


SUITES = {
    "unit": "echo '45 passed in 2.30s'",
    "integration": "echo '12 passed in 15.70s'",
    "e2e": "cat >junit.xml <<'END'\n<testsuites><testsuite name='e2e'>"
    + "<testcase name='ok'/>" * 8
    + "<testcase file='auth-flow.spec.ts' name='login'><failure message='Timeout on login redirect'/></testcase>"
    "<testcase file='dashboard.spec.ts' name='stats'><failure message='Element not found error'/></testcase>"
    "</testsuite></testsuites>\nEND\nexit 1",
}
"""The guide's streaming progress, with programs that print and write what test programs do."""


def test_kinds_of_tests_are_told_of_one_by_one_and_failures_become_issues(bench: Bench):
    params = {"commands": SUITES, "create_issues": True, "labels": ["test-failure"]}
    for _ in range(2):  # tried again, it finds the issues of the first go
        result = operate(bench, "run_tests", params, with_worktree=True)
    payload = result.payload
    assert [(one["name"], one["passed"], one["total"], one["passing"]) for one in payload["suites"]] == [
        ("unit", 45, 45, True),
        ("integration", 12, 12, True),
        ("e2e", 8, 10, False),
    ]
    assert payload["tests"] == {"passed": 65, "failed": 2}
    report = str(bench.worktree / "junit.xml")
    assert payload["artifacts"] == {"test_report": report, "test_reports": [report]}
    assert payload["failures"] == [
        {"suite": "e2e", "file": "auth-flow.spec.ts", "name": "login", "message": "Timeout on login redirect"},
        {"suite": "e2e", "file": "dashboard.spec.ts", "name": "stats", "message": "Element not found error"},
    ]
    assert payload["issues_created"] == [1, 2]
    first, second = IssueTracker(bench.spool.issues).list()
    assert (first.title, first.labels) == ("auth-flow.spec.ts: login", ["test-failure"])
    assert re.search(r"(?m)^```\n.*Timeout on login redirect", first.body)  # nothing in it is Markdown, or a name
    assert second.title == "dashboard.spec.ts: stats"
    lines = result.summary.splitlines()
    assert lines[0] == "⚠️ Test suite completed with 2 failures"
    assert lines[1].startswith("✅ Unit tests: 45/45 passing (")
    assert lines[3].startswith("❌ E2E tests: 8/10 passing (")
    assert "- auth-flow.spec.ts: Timeout on login redirect" in lines
    assert lines[-1] == "Created issues: #1, #2"
    assert result.error_report is not None
    assert result.error_report.artifacts.test_report == report
    assert result.error_report.error.message == "The tests failed with exit code 1: 8 passed, 2 failed"
    assert result.evidence is not None
    assert [(run.exit_code, run.counts) for run in result.evidence.verification] == [
        (0, {"passed": 45, "failed": 0}),
        (0, {"passed": 12, "failed": 0}),
        *[(1, {"passed": 8, "failed": 2})] * 2,
    ]
    events = [AttemptEvent.model_validate_json(line) for line in bench.paths.events.read_bytes().splitlines()]
    told = [(event.percent, event.message) for event in events if event.kind is EventKind.PROGRESS]
    assert [percent for percent, _ in told] == [10, 25, 50, 75, 100]
    assert told[1][1].startswith("✅ Unit tests: 45/45 passing (")
    assert told[1][1].endswith("⏳ Integration tests: running")


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"command": "true", "commands": {"unit": "true"}}, "give one of them"),
        ({"commands": {"unit": " "}}, "'unit' has no command"),
        ({"commands": {"unit": "true"}, "report": {"e2e": "x.xml"}}, "no kind 'e2e'"),
        ({"command": "true", "report": {"e2e": "x.xml"}}, "for one command"),
        ({"command": "true", "report": 5}, "params.report"),
        ({"commands": {"unit": 5}}, "params.commands.unit"),
    ],
)
def test_a_test_run_that_makes_no_sense_is_refused(params: dict[str, Any], word: str):
    with pytest.raises(Failed, match=re.escape(word)):
        kinds_of(read_params("run_tests", params, TestRun), None)


def test_kinds_and_their_reports():
    both = {"unit": "a", "e2e": "b"}
    asked: list[tuple[dict[str, Any], list[Sequence[str]]]] = [
        ({"report": "x.xml"}, [("x.xml",), ("x.xml",)]),
        ({"report": {"e2e": ["x.xml", "y"]}}, [(), ("x.xml", "y")]),
        ({}, [(), ()]),
    ]
    for params, reports in asked:
        kinds = kinds_of(read_params("run_tests", {"commands": both, **params}, TestRun), "c")
        assert [kind.reports for kind in kinds] == reports
        assert [(kind.name, kind.command) for kind in kinds] == list(both.items())
    (kind,) = kinds_of(read_params("run_tests", {}, TestRun), "make test")
    assert (kind.command, kind_label(kind.name)) == ("make test", "Tests")
    assert [kind_label(name) for name in ("unit", "e2e", "smoke-tests")] == ["Unit tests", "E2E tests", "Smoke tests"]
