"""What is still known of a task whose folder was deleted: its plan, its link under tasks/, and the plan's ledger.

An agent that runs unconfined can delete its own folder, and with it every decision on the task. The task is not
forgotten for that: it is settled as failed, from what is left. Reads only.
"""

from __future__ import annotations

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.plan import Task
from haikud.contracts.states import TaskState, is_final
from haikud.spool.ledger import read_entries
from haikud.spool.store import Store

WHY = "was deleted, with all that was known of its attempts"


def why_lost(ref: str) -> str:
    """What is said of a task whose folder was deleted."""
    return f"the folder of {ref} {WHY}"


def decision_from_link(store: Store, plan_id: str, task: Task) -> Decision | None:
    """The task's state as its link has it, as a decision; None where its folder is there, or it has no link."""
    state = store.linked_state(task.ref)
    folder = store.layout.task(task.ref).folder
    if state is None or folder.exists():
        return None
    entries = read_entries(store.layout.plan(plan_id))
    attempts = [entry.attempt for entry in entries if entry.ref == task.ref and entry.attempt is not None]
    return Decision(
        number=1,
        at=utc_now(),
        ref=task.ref,
        state=state,
        reason=f"{state}; its folder {WHY}" if is_final(state) else f"its folder {WHY}",
        attempt=attempts[-1] if attempts else int(state is TaskState.RUNNING),
    )
