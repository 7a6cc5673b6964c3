"""What a task's attempts left on disk: results, and what was spent.

What an attempt spent through the gateway stands in its usage.json, whatever its result says. One that had no gateway
(of an older daemon) spent what its result says, or its transcript where it left none.

Reads only. A result that cannot be read counts as missing here; settlement has said so in the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from haikud.contracts.attempt import Result
from haikud.contracts.decision import Decision
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.contracts.usage import UsageTotal
from haikud.contracts.usage_journal import AttemptUsage
from haikud.spool.layout import AttemptPaths, TaskPaths
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.spending import spent_by_transcript

NO_USAGE = UsageTotal()


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt that has ended."""

    number: int
    result: Result | None
    outcome: AttemptOutcome | None  # as the engine settled it
    usage: UsageTotal
    usage_by_model: dict[str, UsageTotal]
    seconds: float


def read_result(paths: AttemptPaths) -> Result | None:
    """The attempt's result, None where it left none. Raises UnreadableFile."""
    return read_model(paths.result, Result)


def read_usage(paths: AttemptPaths) -> AttemptUsage | None:
    """What an attempt used by the journal; None where it had no gateway, or where that cannot be read."""
    try:
        return read_model(paths.usage, AttemptUsage)
    except UnreadableFile:
        return None


def read_attempts(paths: TaskPaths, decisions: Sequence[Decision]) -> list[AttemptRecord]:
    """All attempts of a task that have been settled, in order."""
    began = {d.attempt: d.at for d in decisions if d.state is TaskState.RUNNING}
    settled = {d.attempt: d for d in decisions if d.outcome is not None}
    return [_read_attempt(paths, n, began.get(n), settled[n]) for n in sorted(settled)]


def used_so_far(attempts: Sequence[AttemptRecord]) -> UsageTotal:
    """The sum over attempts."""
    total = NO_USAGE
    for attempt in attempts:
        total = total.plus(attempt.usage)
    return total


def used_by_model(attempts: Sequence[AttemptRecord]) -> dict[str, UsageTotal]:
    """The sums over attempts, by model."""
    sums: dict[str, UsageTotal] = {}
    for attempt in attempts:
        for model, usage in attempt.usage_by_model.items():
            sums[model] = sums.get(model, NO_USAGE).plus(usage)
    return sums


@dataclass(frozen=True)
class Used:
    """What a task's attempts took, all together."""

    usage: UsageTotal
    seconds: float
    model: str  # that was called last; "" where none was
    began: bool  # whether there was an attempt at all


NOTHING_USED = Used(NO_USAGE, 0.0, "", began=False)
"""One for all tasks that wait: there may be very many."""


def used_by(attempts: Sequence[AttemptRecord]) -> Used:
    """The sums over attempts, and the model that was called last."""
    if not attempts:
        return NOTHING_USED
    called = [model for attempt in attempts for model in attempt.usage_by_model]
    seconds = sum(attempt.seconds for attempt in attempts)
    return Used(used_so_far(attempts), seconds, called[-1] if called else "", began=True)


def asked_about(attempts: Sequence[AttemptRecord]) -> list[str]:
    """The undeclared files that attempts were ended for: whoever answered that question knows of them."""
    caught = (one.result.intervention for one in attempts if one.result and one.result.intervention)
    return sorted({name for intervention in caught for name in intervention.files})


def record_of(
    number: int, result: Result, journal: AttemptUsage | None, outcome: AttemptOutcome | None
) -> AttemptRecord:
    """The record of an attempt that left a result; `journal`: what it used, where it had a gateway. Pure."""
    seconds = max(0.0, (result.ended_at - result.began_at).total_seconds())
    if journal is not None:
        return AttemptRecord(number, result, outcome, journal.total, journal.by_model, seconds)
    return AttemptRecord(number, result, outcome, result.usage, result.usage_by_model, seconds)


def _read_attempt(paths: TaskPaths, number: int, began: datetime | None, settled: Decision) -> AttemptRecord:
    try:
        result = read_result(paths.attempt(number))
    except UnreadableFile:
        result = None
    journal = read_usage(paths.attempt(number))
    if result is not None:
        return record_of(number, result, journal, settled.outcome)
    seconds = max(0.0, (settled.at - began).total_seconds() if began else 0.0)
    if journal is not None:
        return AttemptRecord(number, None, settled.outcome, journal.total, journal.by_model, seconds)
    usage, by_model = spent_by_transcript(paths.transcript, number)
    return AttemptRecord(number, None, settled.outcome, usage, by_model, seconds)
