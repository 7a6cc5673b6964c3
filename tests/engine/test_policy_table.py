"""The whole of policy, row by row: outcome, class and counts on the left, what becomes of the task on the right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from haikud.contracts.attempt import RECOVERABLE, FailureClass, Question, QuotaStop
from haikud.contracts.settings import RetrySettings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.policy import (
    VANISHED,
    Ending,
    Escalate,
    Finish,
    History,
    Next,
    Pause,
    PauseQueue,
    Retry,
    decide_next,
)

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
Out, Kind = AttemptOutcome, FailureClass
ERROR = Out.EXITED_WITH_ERROR

DEFAULT = RetrySettings()  # attempts 3, waits 2 and 4 s, orphans 3, environment 10
ONCE = RetrySettings(attempts=1, orphans=0, environment=0)
PATIENT = RetrySettings(attempts=6, waits=[1.0, 2.0, 8.0], orphans=5, environment=1)
EAGER = RetrySettings(waits=[])

DONE, FAILED, GIVEN_UP, ESCALATED, PAUSED = "succeeded", "failed", "cancelled", "escalated", "paused"


def counted(failures: int = 0, orphans: int = 0, starts: int = 0, hindered: int = 0) -> dict[str, int]:
    return {"failures": failures, "orphans": orphans, "failed_starts": starts, "hindered": hindered}


def again(seconds: float | None, failures: int = 0, orphans: int = 0) -> tuple[str, float | None, int, int]:
    """Another attempt after so long (None: at once), with these counts from then on."""
    return ("again", seconds, failures, orphans)


def queue_waits(seconds: float) -> tuple[str, float]:
    return ("queue waits", seconds)


ROWS = [
    # --- what is over at once, whatever was before
    (Out.COMPLETED, None, counted(), DEFAULT, DONE),
    (Out.COMPLETED, None, counted(failures=2, orphans=3), DEFAULT, DONE),
    (Out.COMPLETED, None, counted(), ONCE, DONE),
    (Out.TIMED_OUT, None, counted(), DEFAULT, FAILED),
    (Out.TIMED_OUT, None, counted(), PATIENT, FAILED),
    (Out.CANCELLED, None, counted(), DEFAULT, GIVEN_UP),
    (Out.CANCELLED, None, counted(failures=2), DEFAULT, GIVEN_UP),
    # --- recoverable: three attempts, waits of 2 and 4 s
    (ERROR, Kind.NETWORK, counted(), DEFAULT, again(2, failures=1)),
    (ERROR, Kind.NETWORK, counted(failures=1), DEFAULT, again(4, failures=2)),
    (ERROR, Kind.NETWORK, counted(failures=2), DEFAULT, FAILED),
    (ERROR, Kind.FILE_LOCK, counted(), DEFAULT, again(2, failures=1)),
    (ERROR, Kind.FILE_LOCK, counted(failures=1), DEFAULT, again(4, failures=2)),
    (ERROR, Kind.FILE_LOCK, counted(failures=2), DEFAULT, FAILED),
    (ERROR, Kind.DEPENDENCY_INSTALL, counted(), DEFAULT, again(2, failures=1)),
    (ERROR, Kind.DEPENDENCY_INSTALL, counted(failures=1), DEFAULT, again(4, failures=2)),
    (ERROR, Kind.DEPENDENCY_INSTALL, counted(failures=2), DEFAULT, FAILED),
    (ERROR, Kind.TEMPORARY, counted(), DEFAULT, again(2, failures=1)),
    (ERROR, Kind.TEMPORARY, counted(failures=1), DEFAULT, again(4, failures=2)),
    (ERROR, Kind.TEMPORARY, counted(failures=2), DEFAULT, FAILED),
    # --- one count for all recoverable classes; other counts stay as they are and change nothing
    (ERROR, Kind.NETWORK, counted(orphans=2), DEFAULT, again(2, failures=1, orphans=2)),
    (ERROR, Kind.NETWORK, counted(starts=2), DEFAULT, again(2, failures=1)),
    (ERROR, Kind.NETWORK, counted(hindered=9), DEFAULT, again(2, failures=1)),
    # --- the settings' numbers instead of the guide's
    (ERROR, Kind.NETWORK, counted(), ONCE, FAILED),
    (ERROR, Kind.NETWORK, counted(failures=2), PATIENT, again(8, failures=3)),
    (ERROR, Kind.NETWORK, counted(failures=3), PATIENT, again(8, failures=4)),
    (ERROR, Kind.NETWORK, counted(failures=4), PATIENT, again(8, failures=5)),
    (ERROR, Kind.NETWORK, counted(failures=5), PATIENT, FAILED),
    (ERROR, Kind.NETWORK, counted(), EAGER, again(0, failures=1)),
    (ERROR, Kind.TEMPORARY, counted(failures=1), EAGER, again(0, failures=2)),
    # --- non-recoverable: the same again would not help
    (ERROR, Kind.TEST_FAILURE, counted(), DEFAULT, FAILED),
    (ERROR, Kind.TEST_FAILURE, counted(), PATIENT, FAILED),
    (ERROR, Kind.SYNTAX_ERROR, counted(), DEFAULT, FAILED),
    (ERROR, Kind.MISSING_FILE, counted(), DEFAULT, FAILED),
    (ERROR, Kind.MERGE_CONFLICT, counted(), DEFAULT, FAILED),
    (ERROR, Kind.PERMANENT, counted(), DEFAULT, FAILED),
    (ERROR, Kind.PERMANENT, counted(), PATIENT, FAILED),
    (ERROR, None, counted(), DEFAULT, FAILED),
    # --- escalation
    (ERROR, Kind.BUDGET, counted(), DEFAULT, ESCALATED),
    (ERROR, Kind.BUDGET, counted(failures=2), ONCE, ESCALATED),
    (Out.ESCALATED, None, counted(), DEFAULT, ESCALATED),
    (Out.ESCALATED, None, counted(failures=2, orphans=3), DEFAULT, ESCALATED),
    (Out.PAUSED, None, counted(), DEFAULT, PAUSED),
    (Out.PAUSED, None, counted(failures=2), DEFAULT, PAUSED),
    # --- the account's limits: everything waits and nothing is counted, however often
    (Out.QUOTA, None, counted(), DEFAULT, queue_waits(90)),
    (Out.QUOTA, None, counted(failures=2), DEFAULT, queue_waits(90)),
    (Out.QUOTA, None, counted(orphans=3, starts=2, hindered=10), ONCE, queue_waits(90)),
    # --- runners that vanished: replaced at once, with a count of their own
    (Out.KILLED, None, counted(), DEFAULT, again(None, orphans=1)),
    (Out.KILLED, None, counted(failures=2, orphans=2), DEFAULT, again(None, failures=2, orphans=3)),
    (Out.KILLED, None, counted(orphans=3), DEFAULT, FAILED),
    (Out.KILLED, None, counted(orphans=3), PATIENT, again(None, orphans=4)),
    (Out.ORPHANED, None, counted(), DEFAULT, again(None, orphans=1)),
    (Out.ORPHANED, None, counted(orphans=3), DEFAULT, FAILED),
    (Out.ORPHANED, None, counted(), ONCE, FAILED),
    (Out.BAD_RESULT, None, counted(orphans=1), DEFAULT, again(None, orphans=2)),
    (Out.BAD_RESULT, None, counted(orphans=3), DEFAULT, FAILED),
    (Out.LOST, None, counted(), DEFAULT, again(60, orphans=1)),
    (Out.LOST, None, counted(orphans=3), DEFAULT, FAILED),
    (Out.UNKNOWN, None, counted(orphans=2), DEFAULT, again(60, orphans=3)),
    (Out.UNKNOWN, None, counted(orphans=3), DEFAULT, FAILED),
    # --- runners that never began: no count of the task's, three in a row at most
    (Out.FAILED_TO_START, None, counted(), DEFAULT, again(2)),
    (Out.FAILED_TO_START, None, counted(starts=1), DEFAULT, again(4)),
    (Out.FAILED_TO_START, None, counted(starts=2), DEFAULT, FAILED),
    (Out.FAILED_TO_START, None, counted(failures=2, orphans=1), DEFAULT, again(2, failures=2, orphans=1)),
    (Out.FAILED_TO_START, None, counted(starts=3), PATIENT, again(8)),
    (Out.FAILED_TO_START, None, counted(starts=4), PATIENT, FAILED),
    # --- ended by the daemon's stop: goes on, costs nothing
    (Out.INTERRUPTED, None, counted(), DEFAULT, again(None)),
    (Out.INTERRUPTED, None, counted(failures=2, orphans=3), ONCE, again(None, failures=2, orphans=3)),
    # --- stopped by the machine: waits of their own, no retry counted, ten in a row at most
    (Out.ENVIRONMENT, None, counted(), DEFAULT, again(3)),
    (Out.ENVIRONMENT, None, counted(hindered=1), DEFAULT, again(10)),
    (Out.ENVIRONMENT, None, counted(hindered=2), DEFAULT, again(30)),
    (Out.ENVIRONMENT, None, counted(hindered=3), DEFAULT, again(60)),
    (Out.ENVIRONMENT, None, counted(failures=2, orphans=3, hindered=9), DEFAULT, again(60, failures=2, orphans=3)),
    (Out.ENVIRONMENT, None, counted(hindered=10), DEFAULT, FAILED),
    (Out.ENVIRONMENT, None, counted(hindered=1), PATIENT, FAILED),
    (Out.ENVIRONMENT, None, counted(), ONCE, FAILED),
]


def shown(following: Next) -> object:
    """A decision as the table writes it."""
    match following:
        case Finish(state=state):
            return {TaskState.SUCCEEDED: DONE, TaskState.FAILED: FAILED, TaskState.CANCELLED: GIVEN_UP}[state]
        case Retry(at=at, failures=failures, orphans=orphans):
            return again(None if at is None else (at - NOW).total_seconds(), failures, orphans)
        case Escalate():
            return ESCALATED
        case Pause():
            return PAUSED
        case PauseQueue(until=until):
            return queue_waits((until - NOW).total_seconds())


def name(row: tuple[object, ...]) -> str:
    outcome, kind, counts, retries, _ = row
    assert isinstance(counts, dict)
    some = [f"{count}-{key}" for key, count in counts.items() if count]
    how = {id(ONCE): "once", id(PATIENT): "patient", id(EAGER): "eager"}.get(id(retries))
    return " ".join(str(part) for part in (outcome, kind, *some, how) if part)


@pytest.mark.parametrize(("outcome", "kind", "counts", "retries", "expected"), ROWS, ids=[name(row) for row in ROWS])
def test_row(outcome: Out, kind: Kind | None, counts: dict[str, int], retries: RetrySettings, expected: object):
    quota = QuotaStop(status=429, message="slow down", retry_after_seconds=90.0) if outcome is Out.QUOTA else None
    question = Question(reason="which one?") if outcome is Out.ESCALATED else None
    history = History(**counts, retries=retries, quota_pause_seconds=300.0, fence_seconds=60.0)
    assert shown(decide_next(history, Ending(outcome, kind, "said", question, quota), NOW)) == expected


def test_the_table_is_whole():
    keys = [name(row) for row in ROWS]
    assert len(set(keys)) == len(ROWS) >= 60
    assert {row[0] for row in ROWS} == set(AttemptOutcome)
    assert {row[1] for row in ROWS if row[0] is ERROR} == {*FailureClass, None}


def test_every_class_and_every_outcome_ends_after_a_bounded_number_of_attempts():
    """However often it happens: with the default settings nothing that fails each time goes on for ever."""
    for outcome in set(AttemptOutcome) - {Out.QUOTA, Out.INTERRUPTED}:
        for kind in FailureClass if outcome is ERROR else [None]:
            counts, attempts = counted(), 0
            while attempts < 20:
                attempts += 1
                history = History(**counts, retries=DEFAULT, quota_pause_seconds=300.0)
                following = decide_next(history, Ending(outcome, kind), NOW)
                if not isinstance(following, Retry):
                    break
                counts["failures"], counts["orphans"] = following.failures, following.orphans
                counts["failed_starts"] += outcome is Out.FAILED_TO_START
                counts["hindered"] += outcome is Out.ENVIRONMENT
            bound = 11 if outcome is Out.ENVIRONMENT else 4 if outcome in VANISHED else 3
            assert attempts <= (bound if kind is None or kind in RECOVERABLE else 1), (outcome, kind)


def test_the_waits_are_counted_from_the_end_of_the_attempt():
    for late in (timedelta(0), timedelta(hours=3)):
        history = History(0, 0, 0, DEFAULT, 300.0)
        following = decide_next(history, Ending(ERROR, Kind.NETWORK), NOW + late)
        assert isinstance(following, Retry)
        assert following.at == NOW + late + timedelta(seconds=2)
