"""What is known of how a running attempt gets on: its events, boiled down to what monitors judge by. Pure.

All times are seconds of the daemon's monotonic clock. A watch is made anew from the attempt's events by a daemon that
starts later, and is then the same: nothing of it needs to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.contracts.states import Phase

MOST_OPERATIONS = 120
"""The latest ones: enough for three operations forty times over."""


@dataclass(frozen=True)
class Operation:
    """A tool use. The same use with the same input has the same digest."""

    digest: str
    text: str


@dataclass(frozen=True)
class ErrorStreak:
    """The same error, again and again."""

    digest: str
    text: str
    count: int
    operation: str  # the digest of the last use that met it


@dataclass(frozen=True)
class FailingTests:
    """Runs of the tests that have failed, with none in between that passed."""

    since: float  # the first
    last: float
    runs: int
    text: str  # what the last one said


@dataclass(frozen=True)
class Watch:
    """See the module's head."""

    phase: Phase | None = None
    life_at: float = 0.0  # the last sign that the agent gets on
    life: str = ""  # the last one that had words
    quiet_until: float = 0.0  # what runs has a time limit of its own: till then silence means nothing
    operations: tuple[Operation, ...] = ()
    error: ErrorStreak | None = None
    tests: FailingTests | None = None
    undeclared: tuple[str, ...] = ()


def follow(watch: Watch, event: AttemptEvent, at: float) -> Watch:
    """The watch after an event that happened `at`."""
    if event.kind is EventKind.WAITS:
        return watch
    after = replace(
        watch,
        phase=event.phase or watch.phase,
        life_at=max(at, watch.life_at),
        life=event.message or watch.life,
        quiet_until=at + (event.quiet_seconds or 0.0),
    )
    match event.kind:
        case EventKind.TOOL if event.digest:
            latest = (*watch.operations, Operation(event.digest, event.message))[-MOST_OPERATIONS:]
            return replace(after, operations=latest)
        case EventKind.RESULT:
            return replace(after, error=_error_after(watch.error, event), tests=_tests_after(watch.tests, event, at))
        case EventKind.FILES:
            return replace(after, undeclared=tuple(event.undeclared or ()))
    return after


def _error_after(streak: ErrorStreak | None, event: AttemptEvent) -> ErrorStreak | None:
    """Another error ends a streak, and so does that the very use which met it goes well; other uses between do not."""
    if event.error_digest is None:
        mended = streak is not None and (event.digest == streak.operation or event.tests == "passing")
        return None if mended else streak
    count = streak.count + 1 if streak is not None and streak.digest == event.error_digest else 1
    return ErrorStreak(event.error_digest, event.error or "", count, event.digest or "")


def _tests_after(failing: FailingTests | None, event: AttemptEvent, at: float) -> FailingTests | None:
    if event.tests is None:
        return failing
    if event.tests == "passing":
        return None
    since, runs = (failing.since, failing.runs + 1) if failing is not None else (at, 1)
    return FailingTests(since, at, runs, event.error or "")
