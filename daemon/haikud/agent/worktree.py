"""The attempt's worktree over its life: prepared, the agent's git put in place, its work taken over, measured.

Wraps the workspace room for the phases: its errors become endings with the guide's report, its warnings the attempt's.
`put_in_order` is what every attempt passes through in the end, however it ends: no process of its agent is left, the
worktree is one like any other, and nothing that was not committed is touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.agent.hindrances import hindered
from haikud.agent.lock_waits import LockWait
from haikud.agent.reports.classify import Doing, classify
from haikud.contracts.attempt import FailureClass, WorkspaceOrder
from haikud.contracts.error_report import ErrorType
from haikud.spool.refusals import refusal_in, refused_by_machine
from haikud.workspace.commits import HAIKUD_IDENTITY, ask_leftovers
from haikud.workspace.evidence import measure
from haikud.workspace.git import Git, GitError, GitKilled, WorkspaceError
from haikud.workspace.private_git import attach_private_git, detach_private_git, harvest
from haikud.workspace.repository_settings import RepositorySettings, ask_settings, settings_from
from haikud.workspace.worktrees import PreparedWorktree, finish_worktree, prepare_worktree

Done = TypeVar("Done")


@contextmanager
def git_work(operation: str) -> Iterator[None]:
    """Errors of the workspace room within become Failed with a git_error report, or Hindered."""
    try:
        yield
    except WorkspaceError as error:
        _check_refusal(error, operation)
        raise Failed(_git_failure(error, operation)) from error


def _check_refusal(error: WorkspaceError, operation: str) -> None:
    """Raise Hindered where the machine refused git what it needed."""
    refusal = refused_by_machine(error)
    git = _git_behind(error)
    if refusal is None and git is not None:
        refusal = refusal_in(git.stderr)
    if refusal is not None:
        raise hindered(OSError(refusal.errno, f"{refusal.strerror} ({error})"), operation) from error


def _git_failure(error: WorkspaceError, operation: str) -> AgentError:
    """The report on an error of the workspace room."""
    git = _git_behind(error)
    return AgentError(
        ErrorType.GIT_ERROR,
        error.code,
        str(error),
        details=git.stderr if git else "",
        failure_class=_class_of(git),
        operation=operation,
        command=git.command if git else None,
    )


def _git_behind(error: WorkspaceError) -> GitError | None:
    """What git itself said: the error, or what a push says of it."""
    said = error if isinstance(error, GitError) else error.__cause__
    return said if isinstance(said, GitError) else None


def _class_of(git: GitError | None) -> FailureClass:
    """A lock, the network, a slow call or a killed one may pass."""
    if git is None:
        return FailureClass.PERMANENT
    if git.exit_code is None or isinstance(git, GitKilled):
        return FailureClass.TEMPORARY
    found = classify(git.exit_code, git.stderr, Doing.GIT)
    return found.failure_class if found else FailureClass.PERMANENT


def git_step(attempt: Attempt, operation: str, step: Callable[[], Done]) -> Done:
    """Do a step of the workspace room that bears to be done again; wait where another program holds a lock of git's.

    Raises Failed with a git_error report, or Hindered.
    """
    wait = LockWait(attempt)
    while True:
        try:
            return step()
        except WorkspaceError as error:
            _check_refusal(error, operation)
            failure = _git_failure(error, operation)
            locked = failure.failure_class is FailureClass.FILE_LOCK
            if locked and wait.once_more(failure.message):
                continue
            if wait.tries:
                failure = dataclasses.replace(failure, attempted=[wait.describe()])
            raise Failed(failure) from error


def order_of(attempt: Attempt) -> WorkspaceOrder:
    """The order of an attempt that has a worktree."""
    if attempt.spec.workspace is None:
        msg = f"{attempt.spec.ref} has no worktree"
        raise RuntimeError(msg)
    return attempt.spec.workspace


def settings_of(attempt: Attempt) -> RepositorySettings:
    """The repository's own settings, read once for an attempt."""
    if attempt.repository_settings is None:
        asked = attempt.asked_of_git.take("settings") or ask_settings(order_of(attempt).git_common_dir)
        attempt.repository_settings = settings_from(asked)
    return attempt.repository_settings


def prepare(attempt: Attempt, doing: str, *, leave_open: bool) -> PreparedWorktree:
    """The branch and the worktree, as `prepare_worktree` has it."""

    def make() -> PreparedWorktree:
        return prepare_worktree(order_of(attempt), partial(settings_of, attempt), leave_open=leave_open)

    prepared = git_step(attempt, doing, make)
    attempt.begun_worktree = prepared.begun
    return prepared


def commit_identity(attempt: Attempt) -> tuple[str, str]:
    """Name and e-mail of the agent's commits: the settings', else the repository's own, else haikud."""
    ours, own = attempt.spec.git, settings_of(attempt)
    name = ours.user_name or (own.last("user.name") or "").strip()
    email = ours.user_email or (own.last("user.email") or "").strip()
    return name or HAIKUD_IDENTITY[0], email or HAIKUD_IDENTITY[1]


def attach(attempt: Attempt, *, for_tests: bool = False, is_new: bool = False) -> None:
    """Put the private git in place. For the tests too: they are as untrusted as the agent that wrote them.

    `is_new`: this attempt has made the worktree. For the tests its index was put right a moment ago.
    """

    def put_in_place() -> list[str]:
        return attach_private_git(
            order_of(attempt),
            exclude=attempt.copied,
            for_tests=for_tests,
            settings=settings_of(attempt),
            index_is_right=is_new or for_tests,
            begun=attempt.begun_worktree,
        )

    for warning in git_step(attempt, "Putting the agent's own git in place", put_in_place):
        attempt.warn(warning)
    attempt.begun_worktree = None
    attempt.git = "tests" if for_tests else "agent"


def take_over(attempt: Attempt, *, looks_for_leftovers: bool = False) -> None:
    """Put the repository's git back in place; with the agent's commits, or without those that tests made.

    `looks_for_leftovers`: they are committed next, and git begins to look for them while the disk is waited for.
    """
    if attempt.git not in {"agent", "tests"}:
        return
    order = order_of(attempt)

    def look(git: Git) -> None:
        attempt.asked_of_git.leftovers = ask_leftovers(git)

    def take() -> list[str]:
        settings = settings_of(attempt)
        if attempt.git == "tests":
            return detach_private_git(order, settings)
        attempt.asked_of_git.drop()  # of an earlier try
        return harvest(order, settings, look if looks_for_leftovers else None).warnings

    warnings = git_step(attempt, "Taking over the agent's commits", take)
    attempt.git = "repository"
    for warning in warnings:
        attempt.warn(warning)


def measure_evidence(attempt: Attempt) -> None:
    """Facts about the branch, into the evidence."""
    if attempt.git != "repository" or attempt.start_sha is None:
        return
    declared = [file.path for file in attempt.spec.task.files]
    with git_work("Measuring the agent's work"):
        measured = measure(order_of(attempt), attempt.start_sha, declared, attempt.copied)
    for warning in measured.pop("warnings"):
        attempt.warn(warning)
    attempt.evidence.update(measured)


def put_in_order(attempt: Attempt) -> None:
    """However the attempt ended: no process of its agent, the repository's git in place, evidence of what is there."""
    attempt.asked_of_git.drop()
    attempt.end_processes()
    if attempt.begun_worktree is not None:  # no agent came into it: it is left as any other
        with git_work("Finishing the worktree"):
            finish_worktree(order_of(attempt), attempt.begun_worktree)
        attempt.begun_worktree = None
    agents = attempt.git == "agent"
    take_over(attempt)
    if agents:
        measure_evidence(attempt)
