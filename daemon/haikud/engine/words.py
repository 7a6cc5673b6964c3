"""Words that one part of the engine writes into a decision's reason and another one looks for."""

from __future__ import annotations

from haikud.contracts.decision import Decision
from haikud.contracts.states import TaskState

DEPENDENCY_FAILED = "dependency_failed"


def dependency_failed(dependency: str, state: TaskState) -> str:
    """The reason of a task that can never start."""
    return f"{DEPENDENCY_FAILED}: {dependency} {state}"


def failed_by_dependency(decision: Decision) -> bool:
    """Whether the task failed only because another one did."""
    return decision.state is TaskState.FAILED and decision.reason.startswith(DEPENDENCY_FAILED)
