"""From an exception that no phase meant to raise to how the attempt ends.

What the machine refuses (spool/refusals.py) says nothing about the task: ENVIRONMENT, no retry is counted. Everything
else that is wrong around an attempt is a failure with a report; what is left is our bug.
"""

from __future__ import annotations

from haikud.agent.endings import Ending, Failed, Hindered
from haikud.agent.errors import AgentError
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType
from haikud.contracts.live import KIND_OF_ERRNO, FaultKind
from haikud.sandbox.commands import CannotStart
from haikud.sandbox.trees import TreeStillAlive
from haikud.spool.refusals import refused_by_machine

_CURES = {
    FaultKind.NO_SPACE: "Free space (or raise the quota) on the filesystems of the spool and the repository",
    FaultKind.READ_ONLY: "Mount the filesystem for writing again; the system's log says why it is read-only",
    FaultKind.TOO_MANY_FILES: "Raise the limit on open files (LimitNOFILE, ulimit -n), or run fewer agents",
    FaultKind.NO_PROCESSES: "Raise the limit on processes (TasksMax, ulimit -u), or run fewer agents",
    FaultKind.NO_MEMORY: "Free memory, or run fewer agents",
    FaultKind.IO_ERROR: "Check the disk: the system's log says what it could not read or write",
    FaultKind.OTHER: "Raise the limit that the message names",
}


def hindered(refusal: OSError, operation: str = "") -> Hindered:
    """The ending of an attempt that the machine stopped."""
    kind = KIND_OF_ERRNO.get(refusal.errno or 0, FaultKind.OTHER)
    return Hindered(
        AgentError(
            ErrorType.AGENT_ERROR,
            kind.upper(),
            f"The machine refused: {refusal.strerror or refusal}",
            details=str(refusal),
            failure_class=FailureClass.TEMPORARY,
            operation=operation,
            suggested_action=f"{_CURES[kind]}; the task goes on by itself",
        )
    )


def ending_after(error: Exception) -> Ending | None:
    """How the attempt ends after this error; None where the error is a bug of ours."""
    if isinstance(error, Ending):
        return error
    refusal = refused_by_machine(error)
    if refusal is not None:
        return hindered(refusal)
    if isinstance(error, TreeStillAlive):
        return Failed(_processes_left(error))
    if isinstance(error, CannotStart):
        return Failed(_cannot_start(error))
    if isinstance(error, OSError):
        return Failed(_surroundings(error))
    return None


def _cannot_start(error: CannotStart) -> AgentError:
    return AgentError(
        ErrorType.AGENT_ERROR,
        "CANNOT_START",
        str(error),
        suggested_action="Check the task's commands: no NUL, at most 128 KiB, and a worktree that is still there",
    )


def _processes_left(error: TreeStillAlive) -> AgentError:
    return AgentError(
        ErrorType.AGENT_ERROR,
        "PROCESSES_LEFT",
        f"Processes of the agent could not be ended: {error}",
        details="\n".join(error.left),
        suggested_action="End them by hand; they may hang in the kernel, or belong to another user",
    )


def _surroundings(error: OSError) -> AgentError:
    return AgentError(
        ErrorType.AGENT_ERROR,
        "ENVIRONMENT",
        f"The environment failed: {error}",
        failure_class=FailureClass.TEMPORARY,
        suggested_action="Look at the permissions of the spool and the worktree, and whether both are still there",
    )
