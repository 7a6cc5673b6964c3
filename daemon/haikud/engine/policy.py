"""Policy: what becomes of a task after an attempt has ended. One pure function of values, no clock and no disk.

The classes are the guide's: recoverable failures are tried again after waits, a bounded number of times; permanent
ones fail the task; what needs a decision is escalated. A vanished runner, a runner that never began and a stop by the
account's limits are none of the agent's failures: each has a count or a wait of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from haikud.contracts.attempt import RECOVERABLE, FailureClass, Question, QuotaStop
from haikud.contracts.gateway import Purse
from haikud.contracts.intervention import Intervention
from haikud.contracts.settings import RetrySettings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.budgets import TOMORROW, next_midnight

FAILED_STARTS = 3
"""So many attempts in a row may fail to start before the task fails; more where more runners may vanish."""

HINDERED_WAITS = (3.0, 10.0, 30.0, 60.0)
"""Seconds before a task goes on that the machine stopped; the last number holds for all later ones."""

BEGINS_AFRESH = "begins afresh: "
"""How the reason of a restart begins."""

VANISHED = frozenset(
    {
        AttemptOutcome.ORPHANED,
        AttemptOutcome.KILLED,
        AttemptOutcome.BAD_RESULT,
        AttemptOutcome.LOST,
        AttemptOutcome.UNKNOWN,
    }
)
"""Outcomes of a runner that broke or vanished: retried up to `retries.orphans` times."""


@dataclass(frozen=True)
class History:
    """What went before, not counting the attempt that has just ended."""

    failures: int  # that count against `retries.attempts`
    orphans: int  # runners that vanished
    failed_starts: int  # in a row, just before this one
    retries: RetrySettings
    quota_pause_seconds: float  # where the API does not say how long
    hindered: int = 0  # attempts that the machine stopped, in a row, just before this one
    fence_seconds: float = 0.0  # that a successor waits after an end of which the launcher knows nothing


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    outcome: AttemptOutcome
    failure_class: FailureClass | None = None
    message: str = ""  # one line for people
    question: Question | None = None
    quota: QuotaStop | None = None
    intervention: Intervention | None = None  # where a monitor ended it; how often it may was judged before
    purse: Purse | None = None  # whose budget was used up, with the class `budget`

    @property
    def wants_restart(self) -> bool:
        """Whether the monitor that ended it wants it begun afresh."""
        return self.intervention is not None and self.intervention.action == "restart"


@dataclass(frozen=True)
class Finish:
    """The task is final."""

    state: TaskState
    reason: str


@dataclass(frozen=True)
class Retry:
    """Another attempt: at once, or at a time. `failures` and `orphans` are the new counts."""

    at: datetime | None
    reason: str
    failures: int
    orphans: int
    restarted: bool = False  # a monitor ended the last one: it begins without the old transcript, and is counted


@dataclass(frozen=True)
class Escalate:
    """The task waits for an answer."""

    question: Question
    reason: str


@dataclass(frozen=True)
class Pause:
    """The task waits until someone resumes it."""

    reason: str
    restarted: bool = False  # as with Retry


@dataclass(frozen=True)
class PauseQueue:
    """The account's limits: the task is deferred and the whole queue waits until then. No attempt is counted."""

    until: datetime
    reason: str
    is_paused: bool = False  # by a person too: the task does not go on when the queue does


Next = Finish | Retry | Escalate | Pause | PauseQueue


def decide_next(history: History, ending: Ending, now: datetime) -> Next:  # noqa: C901, PLR0911 - a table
    """What becomes of the task. Total: every outcome has an answer."""
    outcome = ending.outcome
    if outcome in VANISHED:
        return _after_a_vanished_runner(history, ending, now)
    match outcome:
        case AttemptOutcome.COMPLETED:
            return Finish(TaskState.SUCCEEDED, ending.message or "completed")
        case AttemptOutcome.EXITED_WITH_ERROR:
            return _after_a_failure(history, ending, now)
        case AttemptOutcome.TIMED_OUT:
            return Finish(TaskState.FAILED, ending.message or "over its time limit")
        case AttemptOutcome.CANCELLED:
            return Finish(TaskState.CANCELLED, ending.message or "cancelled")
        case AttemptOutcome.FAILED_TO_START:
            return _after_a_failed_start(history, ending, now)
        case AttemptOutcome.INTERRUPTED:
            return Retry(None, ending.message or "interrupted by a stop", history.failures, history.orphans)
        case AttemptOutcome.PAUSED:
            return Pause(ending.message or "paused")
        case AttemptOutcome.ESCALATED:
            return _restart(history, ending) if ending.wants_restart else _escalate(ending)
        case AttemptOutcome.QUOTA:
            seconds = ending.quota.retry_after_seconds if ending.quota else history.quota_pause_seconds
            until = now + timedelta(seconds=seconds if seconds > 0 else history.quota_pause_seconds)
            said = ending.quota.message if ending.quota else ending.message
            if ending.quota and ending.quota.status == 502:
                return PauseQueue(until, said)
            return PauseQueue(until, f"the account's limits: {said}" if said else "the account's limits")
        case AttemptOutcome.ENVIRONMENT:
            return _after_a_fault_of_the_machine(history, ending, now)
    raise AssertionError(outcome)


def _after_a_failure(history: History, ending: Ending, now: datetime) -> Next:
    kind = ending.failure_class or FailureClass.PERMANENT
    if kind is FailureClass.BUDGET and ending.purse is Purse.DAY:
        said = ending.message or "the budget of the day is spent"
        return Retry(next_midnight(now), f"{said}; {TOMORROW}", history.failures, history.orphans)
    if kind is FailureClass.BUDGET:
        return _escalate(ending)
    if kind not in RECOVERABLE:
        return Finish(TaskState.FAILED, ending.message or "failed")
    failures = history.failures + 1
    allowed = history.retries.attempts
    said = ending.message or str(kind)
    if failures >= allowed:
        return Finish(TaskState.FAILED, f"{said}; {failures} of {allowed} attempts failed")
    wait = _wait(history.retries.waits, failures)
    reason = f"{kind}: {said}; attempt {failures + 1} of {allowed} in {wait:g} s"
    return Retry(now + timedelta(seconds=wait), reason, failures, history.orphans)


def _after_a_vanished_runner(history: History, ending: Ending, now: datetime) -> Next:
    orphans = history.orphans + 1
    said = ending.message or f"the runner is gone ({ending.outcome})"
    if orphans > history.retries.orphans:
        return Finish(TaskState.FAILED, f"{said}; {orphans} runners vanished")
    fenced = ending.outcome in {AttemptOutcome.LOST, AttemptOutcome.UNKNOWN} and history.fence_seconds > 0
    at = now + timedelta(seconds=history.fence_seconds) if fenced else None
    return Retry(at, f"{said}; goes on ({orphans} of {history.retries.orphans})", history.failures, orphans)


def _after_a_failed_start(history: History, ending: Ending, now: datetime) -> Next:
    starts = history.failed_starts + 1
    said = ending.message or "the runner never began"
    # A runner that was killed before it began has vanished like any other: where many may, many such may.
    if starts >= max(FAILED_STARTS, history.retries.orphans):
        return Finish(TaskState.FAILED, f"{said}; {starts} times in a row")
    wait = _wait(history.retries.waits, starts)
    reason = f"{said}; once more in {wait:g} s"
    return Retry(now + timedelta(seconds=wait), reason, history.failures, history.orphans)


def _after_a_fault_of_the_machine(history: History, ending: Ending, now: datetime) -> Next:
    hindered = history.hindered + 1
    said = ending.message or "the machine stopped it"
    if hindered > history.retries.environment:
        return Finish(TaskState.FAILED, f"{said}; {hindered} times in a row")
    wait = _wait(list(HINDERED_WAITS), hindered)
    reason = f"{said}; goes on in {wait:g} s"
    return Retry(now + timedelta(seconds=wait), reason, history.failures, history.orphans)


def _restart(history: History, ending: Ending) -> Retry:
    said = ending.message or "a monitor ended the attempt"
    return Retry(None, f"{BEGINS_AFRESH}{said}", history.failures, history.orphans, restarted=True)


def _escalate(ending: Ending) -> Escalate:
    message = ending.message or "the agent asks for a decision"
    question = ending.question or Question(reason=message, blocker=message)
    return Escalate(question, question.reason or message)


def _wait(waits: list[float], failures: int) -> float:
    """The seconds before the next try; beyond the list its last number holds."""
    return waits[min(failures, len(waits)) - 1] if waits else 0.0
