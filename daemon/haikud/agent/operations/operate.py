"""Which operation is done by what. An operation that is not here is the built-in agent's, whatever a role lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed
from haikud.agent.operations.issues import ISSUE_OPERATIONS
from haikud.agent.operations.params import refused
from haikud.agent.operations.tests import run_test_command
from haikud.agent.operations.worktrees import WORKTREE_OPERATIONS
from haikud.agent.trackers import ending_after_trouble
from haikud.contracts.tracker import TrackerTrouble
from haikud.spool.models import UnreadableFile

OPERATIONS: dict[str, Callable[[Attempt, dict[str, Any]], dict[str, Any]]] = {
    **ISSUE_OPERATIONS,
    **WORKTREE_OPERATIONS,
    "run_tests": run_test_command,
}


def operate(attempt: Attempt) -> None:
    """Do the task's operation; its payload has the guide's `success`. Raises Failed, Stopped."""
    name = attempt.spec.task.operation or ""
    operation = OPERATIONS.get(name)
    try:
        if operation is None:
            known = ", ".join(sorted(OPERATIONS))
            raise refused(name, "UNKNOWN_OPERATION", f"there is no such operation; there are {known}")
        attempt.payload.update(operation(attempt, attempt.spec.task.params))
    except TrackerTrouble as error:
        attempt.payload.update(success=False)
        attempt.check_stop()
        raise ending_after_trouble(name, error) from error
    except UnreadableFile as error:
        attempt.payload.update(success=False)
        raise refused(name, "ISSUE_UNREADABLE", str(error), "Mend or remove that file, then retry") from error
    except Failed:
        attempt.payload.update(success=False)
        raise
    if not attempt.summary:
        attempt.summary = f"{name}: done"
