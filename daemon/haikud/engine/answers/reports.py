"""Error reports that the engine writes itself: for ends of which no runner could report. Pure."""

from __future__ import annotations

import platform
from datetime import datetime

import haikud
from haikud.contracts.decision import Decision
from haikud.contracts.error_report import (
    Artifacts,
    ErrorContext,
    ErrorDetail,
    ErrorReport,
    ErrorType,
    NextSteps,
    Severity,
)
from haikud.contracts.plan import Task
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.words import DEPENDENCY_FAILED, UNRESOLVED_REFERENCE

_KINDS: dict[AttemptOutcome, tuple[ErrorType, str]] = {
    AttemptOutcome.TIMED_OUT: (ErrorType.TIMEOUT, "ATTEMPT_TIMEOUT"),
    AttemptOutcome.KILLED: (ErrorType.INTERRUPTED, "RUNNER_KILLED"),
    AttemptOutcome.ORPHANED: (ErrorType.INTERRUPTED, "RUNNER_VANISHED"),
    AttemptOutcome.LOST: (ErrorType.INTERRUPTED, "RUNNER_VANISHED"),
    AttemptOutcome.UNKNOWN: (ErrorType.INTERRUPTED, "RUNNER_VANISHED"),
    AttemptOutcome.INTERRUPTED: (ErrorType.INTERRUPTED, "INTERRUPTED"),
    AttemptOutcome.ENVIRONMENT: (ErrorType.AGENT_ERROR, "ENVIRONMENT"),
    AttemptOutcome.BAD_RESULT: (ErrorType.AGENT_ERROR, "BAD_RESULT"),
    AttemptOutcome.FAILED_TO_START: (ErrorType.AGENT_ERROR, "FAILED_TO_START"),
}


def engine_report(task: Task, decision: Decision, *, agent_id: str, log_file: str, now: datetime) -> ErrorReport | None:
    """The report on a failed or cancelled task whose runner left none; None for any other state."""
    if decision.state is TaskState.CANCELLED:
        kind, code, severity = ErrorType.INTERRUPTED, "CANCELLED", Severity.LOW
        steps = NextSteps(
            requires_escalation=False,
            reason="Somebody cancelled the task",
            suggested_action=f"haikud retry {task.ref} runs it after all"
            + ("; what was done is on its branch" if decision.attempt else ""),
        )
    elif decision.state is TaskState.FAILED:
        severity = Severity.HIGH
        if decision.reason.startswith(DEPENDENCY_FAILED):
            kind, code = ErrorType.DEPENDENCY_ERROR, DEPENDENCY_FAILED.upper()
            action = f"Mend the task it depends on, then haikud retry {task.ref.partition('.')[0]}"
        elif decision.reason.startswith(UNRESOLVED_REFERENCE):
            kind, code = ErrorType.INVALID_REQUEST, UNRESOLVED_REFERENCE.upper()
            action = "Drop the task again under a new id with a reference that its dependency's answer has"
        else:
            kind, code = _KINDS.get(decision.outcome or AttemptOutcome.UNKNOWN, (ErrorType.AGENT_ERROR, "FAILED"))
            action = f"Look into its log, then haikud retry {task.ref}"
        steps = NextSteps(requires_escalation=True, reason=decision.reason, suggested_action=action)
    else:
        return None
    return ErrorReport(
        severity=severity,
        type=kind,
        task_id=task.id,
        agent_id=agent_id,
        timestamp=now,
        error=ErrorDetail(message=decision.reason, code=code),
        context=ErrorContext(
            operation=task.title,
            command=task.context.test_command,
            working_directory=task.worktree if decision.attempt else None,
            environment={"haikud_version": haikud.__version__, "python_version": platform.python_version()},
        ),
        next_steps=steps,
        artifacts=Artifacts(log_file=log_file),
    )
