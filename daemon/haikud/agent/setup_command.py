"""The setup command: once in a worktree, with an end that says whether trying again may help.

A lock that another program holds is waited for in place, `limits.lock_seconds` (the guide: up to 30 s) in all. Every
attempt has a HOME and a TMPDIR of its own, so the one after a failed dependency install finds empty caches (the guide:
"retry with cache clear"); caches that the settings point elsewhere are pointed into that HOME for it. The command must
bear to be run again: that is what its retries mean.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from haikud.agent.attempt import Attempt, Outcome, clean_text
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.agent.lock_waits import LockWait
from haikud.agent.reports.classify import Classified, Doing, classify
from haikud.agent.reports.earlier import earlier_results
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType
from haikud.sandbox.commands import shell
from haikud.spool.durable import write_quickly

SETUP_DONE = ".setup-done"
"""In the task's folder: which setup command has run in its worktree. Removed before a worktree is made anew, so that a
crash in between does not make a new one look set up."""

_CACHES = frozenset(
    {
        *("XDG_CACHE_HOME", "PIP_CACHE_DIR", "UV_CACHE_DIR", "POETRY_CACHE_DIR", "PIPENV_CACHE_DIR"),
        *("npm_config_cache", "NPM_CONFIG_CACHE", "YARN_CACHE_FOLDER", "PNPM_HOME", "BUN_INSTALL_CACHE_DIR"),
        *("GOMODCACHE", "GOCACHE", "BUNDLE_USER_CACHE", "COMPOSER_CACHE_DIR", "GRADLE_USER_HOME", "NUGET_PACKAGES"),
    }
)
"""Variables that say where package managers keep what they have fetched."""


def run_setup_command(attempt: Attempt, *, is_new: bool) -> None:
    """Run the task's setup command unless it has run in this worktree. Raises Failed, Stopped, CannotStart."""
    command = attempt.spec.task.context.setup_command
    if not command:
        return
    marker = attempt.task_paths.folder / SETUP_DONE
    digest = hashlib.sha256(command.encode()).hexdigest()
    if not is_new and marker.exists() and marker.read_text(encoding="ascii") == digest:
        attempt.log.line("the setup command has run in this worktree already")
        return
    environment, tried = _without_caches(attempt)
    attempt.events.note(f"Setup: {command}")
    outcome, found = _run(attempt, command, environment, tried)
    if outcome.ended.exit_code == 0:
        write_quickly(marker, digest.encode())
        return
    raise Failed(_failure(attempt, command, outcome, found, tried))


def _run(
    attempt: Attempt, command: str, environment: dict[str, str], tried: list[str]
) -> tuple[Outcome, Classified | None]:
    """Run it; again as long as it fails at a lock that may still be let go."""
    wait = LockWait(attempt)
    while True:
        attempt.log.line(f"running the setup command: {command}")
        outcome = attempt.run_untrusted(
            shell(command), what="setup command", timeout=attempt.spec.limits.setup_seconds, environment=environment
        )
        found = classify(outcome.ended.exit_code, outcome.tail, Doing.SETUP)
        locked = found is not None and found.failure_class is FailureClass.FILE_LOCK
        if not locked or not wait.once_more(found.said if found else ""):
            if wait.tries:
                tried.append(wait.describe())
            return outcome, found


def _without_caches(attempt: Attempt) -> tuple[dict[str, str], list[str]]:
    """The setup command's environment and what is done about caches: nothing, unless an install has failed before."""
    failed = any(result.failure_class is FailureClass.DEPENDENCY_INSTALL for result in earlier_results(attempt))
    if not failed:
        return attempt.environment, []
    named = sorted(_CACHES & attempt.environment.keys())
    empty = Path(attempt.environment["HOME"]) / "caches"
    also = f", {', '.join(named)} not used" if named else ""
    done = f"Ran the setup command again with empty package caches (a new HOME{also})"
    attempt.log.line(f"an install failed before: empty package caches (a new HOME{also})")
    return {**attempt.environment, **{name: str(empty / name.lower()) for name in named}}, [done]


def _failure(
    attempt: Attempt, command: str, outcome: Outcome, found: Classified | None, tried: list[str]
) -> AgentError:
    limit, late = attempt.spec.limits.setup_seconds, outcome.ended.timed_out
    how = f"took longer than {limit:g} s" if late else f"failed with exit code {outcome.ended.exit_code}"
    said = f": {clean_text(found.said)}" if found and found.said else ""
    code = found.code if found else "SETUP_TIMEOUT" if late else "SETUP_FAILED"
    return AgentError(
        found.type if found else ErrorType.DEPENDENCY_ERROR,
        code,
        f"The setup command {how}{said}",
        details=clean_text(outcome.tail),
        failure_class=found.failure_class if found else FailureClass.DEPENDENCY_INSTALL,
        attempted=tried,
        operation="Running the setup command",
        command=command,
        suggested_action=_CURES.get(code, ""),
    )


_CURES = {
    "COMMAND_NOT_FOUND": "Install the program where the daemon's PATH finds it, or correct the setup command",
    "MISSING_FILE": "Commit the file that the setup command needs, or correct the command: a worktree holds only what "
    "is committed, and what git.copy_files names",
    "ACCESS_DENIED": "Give the agents what the registry asks for, through environment.pass_names or git.copy_files",
    "SYNTAX_ERROR": "Mend the command or the file that the message names",
}
