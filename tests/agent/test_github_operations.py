"""issue-orchestrator on GitHub: what stops it, what an answer says then, and how the next attempt goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.attempts import Bench
from tests.support.github_double import REPOSITORY, TOKEN, Fault, GitHubDouble, limited, needs_gh
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed, Stopped
from haikud.agent.operations.operate import operate
from haikud.agent.operations.tests import _open_issues as open_test_issues
from haikud.agent.phases.report import report
from haikud.agent.runner import open_attempt
from haikud.agent.task_issue import open_issue
from haikud.agent.trackers import tracker_of
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType

BATCH = {"issues": [{"title": f"Number {number}"} for number in range(1, 4)]}

pytestmark = needs_gh


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubDouble]:
    double = GitHubDouble(tmp_path_factory.mktemp("github"))
    yield double
    double.close()


@pytest.fixture
def double(server: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHubDouble:
    server.begin_anew()
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def attempt_of(bench: Bench, operation: str | None, params: dict[str, Any] | None = None, **more: Any) -> Attempt:
    github = more.pop("github", {"repository": REPOSITORY, "limit_wait_seconds": 60})
    role = {"operations": [operation] if operation else []}
    bench.order(operation=operation, params=params, role=role, issues="github", github=github, **more)
    attempt = open_attempt(bench.paths.folder, None, threading.Event())
    attempt.tokens = {"GH_ENTERPRISE_TOKEN": TOKEN}
    return attempt


def test_a_batch_that_a_limit_stopped_says_what_was_made_and_goes_on_from_there(bench: Bench, double: GitHubDouble):
    double.fail("POST", Fault(), limited(3000))
    attempt = attempt_of(bench, "create_issues", BATCH)
    with pytest.raises(Failed) as stopped:
        operate(attempt)
    error = stopped.value.error
    assert error is not None
    assert (error.type, error.code, error.failure_class) == (
        ErrorType.API_ERROR,
        "RATE_LIMITED",
        FailureClass.PERMANENT,
    )
    assert "then retry" in error.suggested_action
    payload = attempt.payload
    assert (payload["success"], payload["created"], payload["requested"]) == (False, 1, 3)

    again = attempt_of(bench, "create_issues", BATCH)
    operate(again)
    assert [one["issue_number"] for one in again.payload["issues"]] == [1, 2, 3]
    assert [one["title"] for one in double.issues.values()] == ["Number 1", "Number 2", "Number 3"]


def test_a_wait_for_a_limit_ends_when_the_attempt_is_to_end(bench: Bench, double: GitHubDouble):
    double.fail("POST", limited(50))
    attempt = attempt_of(bench, "create_issues", BATCH)

    def stop_the_wait() -> None:
        wait_until(lambda: attempt.paths.events.exists() and "rate limit" in attempt.paths.events.read_text())
        attempt.stop.set()

    thread = threading.Thread(target=stop_the_wait)
    thread.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        operate(attempt)
    thread.join()
    assert time.monotonic() - began < 45


@pytest.mark.parametrize(
    ("code", "cure"),
    [("GH_MISSING", "apt-get install gh"), ("NOT_LOGGED_IN", "gh auth login"), ("NO_GITHUB_REPOSITORY", "OWNER/NAME")],
)
def test_what_is_missing_is_said_with_its_cure_and_a_task_goes_on_without(
    bench: Bench, double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, code: str, cure: str
):
    github = {} if code == "NO_GITHUB_REPOSITORY" else {"repository": REPOSITORY}
    attempt = attempt_of(bench, "list_issues", {}, github=github)
    task = attempt_of(bench, None, github=github)
    if code == "GH_MISSING":
        (bench.root / "bin").mkdir()
        (bench.root / "bin/git").symlink_to("/usr/bin/git")
        monkeypatch.setenv("PATH", str(bench.root / "bin"))
    if code == "NOT_LOGGED_IN":
        attempt.tokens = task.tokens = {}
    with pytest.raises(Failed) as failed:
        operate(attempt)
    error = failed.value.error
    assert error is not None
    assert (error.code, cure in error.suggested_action, attempt.payload["success"]) == (code, True, False)

    if code == "NO_GITHUB_REPOSITORY":
        assert open_test_issues(attempt, [], []) == []
        assert cure in attempt.warnings[0]
    open_issue(task)
    (warning,) = task.warnings
    assert warning.startswith("the task goes on without its issue: ")
    assert cure in warning
    assert (task.issue, double.issues) == (None, {})


def test_the_repository_is_the_remotes_and_labels_that_are_dropped_are_a_warning(bench: Bench, double: GitHubDouble):
    git(bench.repository, "remote", "add", "origin", f"https://github.example/{REPOSITORY}.git")
    double.may_push = False
    attempt = attempt_of(bench, "create_issue", {"title": "One", "labels": ["bug"]}, github={})
    operate(attempt)
    assert attempt.warnings == ["issue #1 is without the label(s) bug"]
    assert attempt.issue == (1, f"https://{double.host}/{REPOSITORY}/issues/1")
    other = attempt_of(bench, None, github={"host": "github.example"}, issue_number=7)
    open_issue(other)
    assert other.issue == (7, f"https://github.example/{REPOSITORY}/issues/7")
    assert tracker_of(other).url(8).endswith("/issues/8")


def test_the_last_word_to_an_issue_takes_no_longer_than_the_grace_period(
    bench: Bench, double: GitHubDouble, monkeypatch: pytest.MonkeyPatch
):
    slow = bench.root / "bin" / "gh"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nsleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    attempt = attempt_of(bench, None)
    attempt.issue = (1, None)
    attempt.stop.set()
    began = time.monotonic()
    result = report(attempt, None)
    assert time.monotonic() - began < 20
    assert result.issue_number == 1
    assert [warning.partition(":")[0] for warning in result.warnings] == ["the task's issue could not be told"]


def test_an_issue_that_could_not_be_opened_at_first_is_opened_at_the_end(bench: Bench, double: GitHubDouble):
    double.fail("GET", Fault(502, "Bad gateway"))
    attempt = attempt_of(bench, None)
    open_issue(attempt)
    assert len(attempt.warnings) == 1
    result = report(attempt, None)
    assert (result.issue_number, double.issues[1]["state"]) == (1, "closed")
    assert result.warnings == attempt.warnings
    assert "Attempt 1 ended: completed" in double.comments[1][0]["body"]
