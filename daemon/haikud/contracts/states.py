"""Where a task is, how an attempt ended, and which moves between states are allowed.

State and outcome are two types on purpose: `running` says where a task is, `timed_out` says how its attempt ended.
"""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task is. One folder of links per member under `tasks/`."""

    WAITING = "waiting"  # for its dependencies
    QUEUED = "queued"  # ready; for a free slot
    RUNNING = "running"  # an attempt's runner works on it
    DEFERRED = "deferred"  # until its decision's retry_at
    PAUSED = "paused"  # until someone resumes it
    ESCALATED = "escalated"  # a question is open; until guidance comes
    SUCCEEDED = "succeeded"  # final
    FAILED = "failed"  # final
    CANCELLED = "cancelled"  # final


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"  # the agent said done and the runner's measurements agree
    EXITED_WITH_ERROR = "exited_with_error"  # the agent, its tests or the model API failed
    TIMED_OUT = "timed_out"  # over its time limit
    KILLED = "killed"  # the runner died of a signal that was not ours
    FAILED_TO_START = "failed_to_start"  # the runner never began: costs no retry
    BAD_RESULT = "bad_result"  # its result.json cannot be read
    ORPHANED = "orphaned"  # the runner is gone and left no result
    INTERRUPTED = "interrupted"  # ended by `stop --now` or a second Ctrl-C: costs no retry
    CANCELLED = "cancelled"  # ended because the task was cancelled
    PAUSED = "paused"  # ended at a turn because the task was paused
    ESCALATED = "escalated"  # the agent asked a question
    QUOTA = "quota"  # stopped by the account's limits: costs no retry
    ENVIRONMENT = "environment"  # stopped by the machine (no space, no descriptors, no processes): costs no retry
    LOST = "lost"  # the launcher's host is gone
    UNKNOWN = "unknown"  # the launcher has no record


class Priority(StrEnum):
    """The order in which queued tasks start; age decides within one priority."""

    BLOCKER = "blocker"
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 starts first."""
        return list(Priority).index(self)


class Phase(StrEnum):
    """The checkpoints of an attempt, in order (the guide's four, and the report)."""

    SETUP = "setup"
    IMPLEMENT = "implement"
    VALIDATE = "validate"
    DELIVER = "deliver"
    REPORT = "report"


FINAL_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})
OPEN_STATES = frozenset(TaskState) - FINAL_STATES

_W, _Q, _R, _D, _P, _E = (
    TaskState.WAITING,
    TaskState.QUEUED,
    TaskState.RUNNING,
    TaskState.DEFERRED,
    TaskState.PAUSED,
    TaskState.ESCALATED,
)
_S, _F, _C = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED

ALLOWED_MOVES: dict[TaskState, frozenset[TaskState]] = {
    _W: frozenset({_Q, _P, _F, _C}),
    _Q: frozenset({_R, _D, _P, _E, _F, _C}),
    _R: frozenset({_Q, _D, _P, _E, _S, _F, _C}),
    _D: frozenset({_Q, _P, _F, _C}),
    _P: frozenset({_W, _Q, _D, _F, _C}),
    _E: frozenset({_Q, _P, _F, _C}),
    _S: frozenset(),
    _F: frozenset({_Q, _W}),
    _C: frozenset({_Q, _W}),
}
"""From a state to those it may move to. The moves out of `failed` and `cancelled` are a person's `retry`."""


def is_final(state: TaskState) -> bool:
    """Whether a task in this state has its answer."""
    return state in FINAL_STATES


def check_move(current: TaskState, to: TaskState) -> None:
    """Raise ValueError where `current -> to` is no allowed move: that is our bug, never bad input."""
    if to not in ALLOWED_MOVES[current]:
        msg = f"illegal move of a task: {current} -> {to}"
        raise ValueError(msg)
