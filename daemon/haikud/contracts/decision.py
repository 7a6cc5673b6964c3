"""A decision: the engine's durable word on a task. The last whole one is the task's state."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.gateway import PauseKind
from haikud.contracts.ids import Ref
from haikud.contracts.states import AttemptOutcome, TaskState


class Decision(Model):
    """`plans/PLAN/TASK/decision-NNNN.json`. Carries all that its state needs, so that nothing is applied twice."""

    format: Literal[1] = 1
    number: int = Field(ge=1)
    at: Timestamp
    ref: Ref
    state: TaskState
    reason: str  # for people: why
    attempt: int = Field(0, ge=0)  # the newest attempt that exists or is ordered; 0: none yet
    outcome: AttemptOutcome | None = None  # how that attempt ended, where this decision settles it
    failures: int = Field(0, ge=0)  # attempts so far that count against the retry limit
    orphans: int = Field(0, ge=0)  # attempts so far that ended with a vanished runner
    retry_at: Timestamp | None = None  # with `deferred`: when it is queued again
    # Attempts so far that a monitor ended to begin afresh. Written where there are any: a nineteenth field in each
    # decision would cost 1.5 KB of memory in each open task (the set of the fields that were read grows fourfold).
    restarts: int = Field(0, ge=0, exclude_if=lambda count: count == 0)
    token: str | None = None  # of the control or guidance file that caused it
    escalation: int | None = None  # number of the newest escalation-NNNN.json
    guidance: int | None = None  # number of the newest guidance-NNNN.json that the next attempt must show
    fresh: bool = False  # the next attempt starts without the old transcript
    resume_to: TaskState | None = None  # with `paused`: the state that a resume goes back to
    role: str | None = None  # reassigned to this role
    model: str | None = None  # reassigned to this model


class QueueState(Model):
    """`queue.json`: whether the queue as a whole starts anything. Absent means: it does."""

    paused: bool = False
    reason: str = ""
    until: Timestamp | None = None  # a quota pause ends by itself; a person's has none
    kind: PauseKind | None = None  # where the gateway said so: it may end the pause earlier
    quota_refs: list[Ref] = Field(default_factory=list)
    token: str | None = None
