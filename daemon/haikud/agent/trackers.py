"""Which tracker an attempt writes to, and its markers."""

from __future__ import annotations

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType
from haikud.contracts.tracker import Tracker, TrackerTrouble
from haikud.spool.issues import IssueTracker


def tracker_of(attempt: Attempt) -> Tracker:
    """The tracker that the settings choose. Nothing is asked of it yet."""
    return IssueTracker(attempt.layout.issues)


def effect_marker(attempt: Attempt, what: str) -> str:
    """The marker of one effect of a task, the same in all its attempts."""
    return f"{attempt.spec.ref}.{what}"


def ending_after_trouble(operation: str, trouble: TrackerTrouble) -> Failed:
    """The ending of an operation whose tracker could not do it."""
    return Failed(
        AgentError(
            ErrorType.API_ERROR if trouble.passing else ErrorType.INVALID_REQUEST,
            trouble.code,
            f"{operation}: {trouble}",
            details=trouble.details,
            failure_class=FailureClass.NETWORK if trouble.passing else FailureClass.PERMANENT,
            operation=operation,
            suggested_action=trouble.cure,
        )
    )
