"""What follows where a monitor wants an attempt begun afresh: policy, the order for the next attempt, what it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from haikud.contracts.attempt import Question
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.intervention import Intervention, Trigger
from haikud.contracts.settings import MonitorSettings, RetrySettings, default_settings
from haikud.contracts.states import AttemptOutcome
from haikud.engine.attempts.results import AttemptRecord, asked_about
from haikud.engine.attempts.specs import resume_note, retry_of
from haikud.engine.policy import Ending, Escalate, History, Retry, decide_next

HISTORY = History(
    failures=1, orphans=2, failed_starts=0, retries=RetrySettings.model_validate({}), quota_pause_seconds=1.0
)
ASKED = Question(reason="A monitor paused the agent: silent")


def ending(action: str) -> Ending:
    caught = Intervention.model_validate({"trigger": Trigger.SILENCE, "message": "silent", "action": action})
    return Ending(AttemptOutcome.ESCALATED, message=ASKED.reason, question=ASKED, intervention=caught)


def test_a_restart_is_another_attempt_at_once_and_counts_as_no_failure():
    following = decide_next(HISTORY, ending("restart"), utc_now())
    assert following == Retry(None, f"begins afresh: {ASKED.reason}", 1, 2, restarted=True)
    assert decide_next(HISTORY, ending("escalate"), utc_now()) == Escalate(ASKED, ASKED.reason)


def decisions(*rows: tuple[str, dict[str, Any]]) -> list[Decision]:
    return [
        Decision.model_validate({"number": n, "at": utc_now(), "ref": "p", "state": state, "reason": "why", **fields})
        for n, (state, fields) in enumerate(rows, 1)
    ]


RESTARTED = (
    ("running", {"attempt": 1}),
    ("queued", {"attempt": 1, "outcome": "escalated", "restarts": 1, "reason": "begins afresh: silent"}),
)


def test_the_next_attempt_is_told_what_went_wrong_until_one_has_heard_of_it():
    note = resume_note(decisions(*RESTARTED))
    assert note is not None
    assert "was ended. silent. Nothing" in note.text
    assert retry_of(decisions(*RESTARTED), default_settings()) == ("begins afresh: silent", 2)
    vanished = decisions(
        *RESTARTED,
        ("running", {"attempt": 2, "restarts": 1}),
        ("queued", {"attempt": 2, "restarts": 1, "outcome": "orphaned"}),
    )
    assert resume_note(vanished) == note  # under the same key: who has heard it is not told again
    ended = (("running", {"attempt": 1}), ("failed", {"attempt": 1, "outcome": "exited_with_error"}), ("queued", {}))
    paused = (("running", {"attempt": 2}), ("paused", {"attempt": 2, "outcome": "paused"}), ("queued", {"attempt": 2}))
    assert resume_note(decisions(*ended, *paused)) == resume_note(decisions(*ended))  # before it had begun, maybe
    assert resume_note(decisions(*ended)) is not None
    asked = decisions(
        *RESTARTED,
        ("running", {"attempt": 2, "restarts": 1}),
        ("escalated", {"attempt": 2, "restarts": 1, "outcome": "escalated"}),
        ("queued", {"attempt": 2, "restarts": 1}),
    )
    assert resume_note(asked) is None
    assert retry_of(asked, default_settings()) == (None, None)
    assert resume_note(decisions(("queued", {}))) is None


def test_files_that_a_question_was_about_are_known():
    caught = Intervention(trigger=Trigger.UNDECLARED_FILES, message="m", files=["b", "a"])
    results = [SimpleNamespace(intervention=caught), None, SimpleNamespace(intervention=None)]
    records = [cast("AttemptRecord", SimpleNamespace(result=result)) for result in results]
    assert asked_about(records) == ["a", "b"]


def test_once_is_no_repetition():
    for fine in (0, 2, 9):
        assert MonitorSettings.model_validate({"repeats": fine}).repeats == fine
    with pytest.raises(ValidationError, match="once is no repetition"):
        MonitorSettings.model_validate({"repeats": 1})
