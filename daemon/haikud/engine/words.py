"""Words that one part of the engine writes into a decision's reason and another one looks for."""

from __future__ import annotations

from haikud.contracts.decision import Decision
from haikud.contracts.states import TaskState

DEPENDENCY_FAILED = "dependency_failed"
UNRESOLVED_REFERENCE = "unresolved_reference"


def dependency_failed(dependency: str, state: TaskState) -> str:
    """The reason of a task that can never start."""
    return f"{DEPENDENCY_FAILED}: {dependency} {state}"


def unresolved_reference(why: str) -> str:
    """The reason of a task whose texts name what another one's answer does not have."""
    return f"{UNRESOLVED_REFERENCE}: {why}"


def failed_by_dependency(decision: Decision) -> bool:
    """Whether the task failed only because another one did."""
    return decision.state is TaskState.FAILED and decision.reason.startswith(DEPENDENCY_FAILED)


def name_escalation(ref: str, number: int) -> str:
    """REF.eN: what guidance names."""
    return f"{ref}.e{number}"
