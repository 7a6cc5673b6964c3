"""Killed between an effect and the record of it: the next attempt finds the effect, and nothing is there twice."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from tests.support.attempts import Bench

from haikud.contracts.plan import FileSpec
from haikud.contracts.states import AttemptOutcome
from haikud.sandbox.trees import end_tree
from haikud.spool.issues import IssueTracker

BEFORE_THE_RESULT = "before:result.json:1"


def killed_then_whole(bench: Bench, dying: str, **order: Any) -> AttemptOutcome:
    bench.order(**order)
    assert bench.start(dying=dying).wait(timeout=60) == -9, bench.log()
    assert not bench.paths.result.exists()
    bench.order(**order)
    return bench.run().outcome


def test_a_tasks_issue_and_what_is_said_there(bench: Bench):
    outcome = killed_then_whole(bench, BEFORE_THE_RESULT, agent="true", issues="local", with_worktree=False)
    assert outcome is AttemptOutcome.COMPLETED
    (issue,) = IssueTracker(bench.spool.issues).list()
    assert issue.state == "closed"
    assert [comment.body.split(".")[0] for comment in issue.comments] == ["Attempt 2 ended: completed"]


@pytest.mark.parametrize(
    ("operation", "params", "comments"),
    [
        ("create_issue", {"title": "Once"}, []),
        ("comment_issue", {"issue_number": 1, "body": "Said once."}, ["Said once."]),
    ],
)
def test_operations_on_issues(bench: Bench, operation: str, params: dict[str, Any], comments: list[str]):
    tracker = IssueTracker(bench.spool.issues)
    if operation != "create_issue":
        tracker.create("Once")
    role = {"operations": [operation]}
    given = {"operation": operation, "params": params, "role": role, "with_worktree": False}
    assert killed_then_whole(bench, BEFORE_THE_RESULT, **given) is AttemptOutcome.COMPLETED
    (issue,) = tracker.list()
    assert (issue.title, [comment.body for comment in issue.comments]) == ("Once", comments)


def test_a_setup_that_was_killed_is_made_again_and_its_template_is_nobodys_work(bench: Bench):
    """The command kills its runner in the attempts 1 and 3; before the third somebody has removed the worktree."""
    ran = bench.root / "ran"
    command = f'echo "$HAIKUD_ATTEMPT" >> "{ran}"; case "$HAIKUD_ATTEMPT" in 1|3) kill -9 "$PPID"; sleep 5;; esac'
    given = {
        "agent": "true",
        "files": [FileSpec(path="new.py", template="empty")],
        "context": {"setup_command": command},
        "templates_dir": str(bench.root / "templates"),
    }
    folder = bench.root / "templates" / "files"
    folder.mkdir(parents=True)
    (folder / "empty.yaml").write_text("description: d\ncontent: |\n  # @name@\n")
    codes = []
    for number in range(1, 5):
        if number == 3:
            shutil.rmtree(bench.worktree)
        bench.order(**given)
        codes.append(bench.start().wait(timeout=60))
        end_tree(marker=str(bench.paths.out), pids=[], grace=0)
        if number == 2:
            first = bench.result()
    assert codes == [-9, 0, -9, 0]
    assert ran.read_text().split() == ["1", "2", "3", "4"]
    for result in (first, bench.result()):
        assert result.error_report is not None
        assert result.error_report.error.code == "NO_COMMIT", bench.log()
