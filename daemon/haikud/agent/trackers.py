"""Which tracker an attempt writes to, its markers, and what becomes of an operation whose tracker failed.

gh is called here, by the runner, which is trusted: its login and tokens never reach the agent's environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.contracts.attempt import FailureClass, Spec
from haikud.contracts.base import Timestamp
from haikud.contracts.error_report import ErrorType
from haikud.contracts.format import SpoolFormat
from haikud.contracts.tracker import Tracker, TrackerTrouble
from haikud.spool.issues import IssueTracker
from haikud.spool.models import UnreadableFile, read_model
from haikud.workspace.gh import GITHUB, HOST_NAME, Gh
from haikud.workspace.github import GitHubIssues
from haikud.workspace.remotes import repository_of_remote

CLOCKS_APART = timedelta(days=1)
"""GitHub's clock and ours differ by less."""


def tracker_of(attempt: Attempt, *, at_the_end: bool = False) -> Tracker:
    """The tracker that the settings choose. Nothing is asked of it yet.

    `at_the_end`: where TERM has arrived already, the grace period is what there is left. Raises TrackerTrouble where it
    is not known which repository of GitHub is meant.
    """
    spec = attempt.spec
    if spec.issues != "github":
        return IssueTracker(attempt.layout.issues)
    host, repository = _place(spec)
    stated = spec.github.host or os.environ.get(HOST_NAME)

    def wait(seconds: float) -> bool:
        attempt.say(f"GitHub's rate limit: waiting {seconds:.0f} s")
        attempt.events.waiting(seconds, "GitHub's rate limit")
        return not attempt.stop.wait(seconds)

    gh = Gh(
        host=host,
        host_is_stated=host == stated,
        tokens=attempt.tokens,
        call_seconds=spec.github.call_seconds,
        limit_wait_seconds=spec.github.limit_wait_seconds,
        wait=wait,
        stop=_end_of_patience(attempt) if at_the_end else attempt.stop.is_set,
    )
    form = read_model(attempt.layout.format_file, SpoolFormat)
    if form is None:
        raise FileNotFoundError(f"{attempt.layout.format_file} is gone")
    return GitHubIssues(gh, repository, form.spool_id, _began(attempt))


def effect_marker(attempt: Attempt, what: str) -> str:
    """The marker of one effect of a task, the same in all its attempts."""
    return f"{attempt.spec.ref}.{what}"


def ending_after_trouble(operation: str, trouble: TrackerTrouble) -> Failed:
    """The ending of an operation whose tracker could not do it."""
    return Failed(
        AgentError(
            ErrorType.INVALID_REQUEST if trouble.code in _OF_THE_REQUEST else ErrorType.API_ERROR,
            trouble.code,
            f"{operation}: {trouble}",
            details=trouble.details,
            failure_class=FailureClass.NETWORK if trouble.passing else FailureClass.PERMANENT,
            operation=operation,
            suggested_action=trouble.cure,
        )
    )


_OF_THE_REQUEST = frozenset({"NO_SUCH_ISSUE", "BAD_PARAMS", "TOO_MANY_ISSUES"})


def _end_of_patience(attempt: Attempt) -> Callable[[], bool]:
    """The result must be there before the engine's grace period is over: it is worth more than a comment."""
    if not attempt.stop.is_set():
        return attempt.stop.is_set
    until = time.monotonic() + attempt.grace
    return lambda: time.monotonic() >= until


def _place(spec: Spec) -> tuple[str, str]:
    """Host and OWNER/NAME."""
    host = spec.github.host or os.environ.get(HOST_NAME)
    if spec.github.repository is not None:
        return host or GITHUB, spec.github.repository
    where = spec.task.repository
    if where is None:
        raise TrackerTrouble(
            "NO_GITHUB_REPOSITORY",
            "neither the settings nor the request say which repository's issues are meant",
            "Give github.repository (OWNER/NAME) in the settings, or context.repository in the request",
        )
    found, repository = repository_of_remote(where.git_common_dir, spec.git.remote)
    return host or found, repository


def _began(attempt: Attempt) -> Timestamp:
    """No effect of the task is older than its first order."""
    try:
        first = read_model(attempt.task_paths.attempt(1).spec, Spec)
    except UnreadableFile:
        first = None
    return (first or attempt.spec).ordered_at - CLOCKS_APART
