"""Policy is a table: every outcome, every class, every count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from haikud.contracts.attempt import FailureClass, Question, QuotaStop
from haikud.contracts.gateway import Purse
from haikud.contracts.settings import RetrySettings, default_settings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.attempts.aftermath import Aftermath
from haikud.engine.attempts.settlement import what_follows
from haikud.engine.budgets import TOMORROW
from haikud.engine.policy import (
    Ending,
    Escalate,
    Finish,
    History,
    Pause,
    PauseQueue,
    Retry,
    decide_next,
)

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
Out, Kind = AttemptOutcome, FailureClass


def history(*, failures: int = 0, orphans: int = 0, starts: int = 0, hindered: int = 0, **retries: object) -> History:
    return History(failures, orphans, starts, RetrySettings.model_validate(retries), 300.0, hindered)


def after(outcome: Out, kind: Kind | None = None, **counts: int) -> object:
    return decide_next(history(**counts), Ending(outcome, kind, "said"), NOW)


@pytest.mark.parametrize("outcome", list(AttemptOutcome))
def test_every_outcome_has_an_answer(outcome: Out):
    assert after(outcome) is not None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Out.COMPLETED, TaskState.SUCCEEDED), (Out.TIMED_OUT, TaskState.FAILED), (Out.CANCELLED, TaskState.CANCELLED)],
)
def test_some_outcomes_are_final_at_once(outcome: Out, state: TaskState):
    assert after(outcome) == Finish(state, "said")


@pytest.mark.parametrize("kind", [Kind.NETWORK, Kind.FILE_LOCK, Kind.DEPENDENCY_INSTALL, Kind.TEMPORARY])
def test_recoverable_failures_are_tried_three_times_with_waits_of_two_and_four_seconds(kind: Kind):
    first = after(Out.EXITED_WITH_ERROR, kind)
    assert isinstance(first, Retry)
    assert (first.at, first.failures) == (NOW + timedelta(seconds=2), 1)
    second = after(Out.EXITED_WITH_ERROR, kind, failures=1)
    assert isinstance(second, Retry)
    assert (second.at, second.failures) == (NOW + timedelta(seconds=4), 2)
    third = after(Out.EXITED_WITH_ERROR, kind, failures=2)
    assert isinstance(third, Finish)
    assert third.state is TaskState.FAILED


@pytest.mark.parametrize("kind", [Kind.PERMANENT, None])
def test_permanent_failures_are_final(kind: Kind | None):
    assert after(Out.EXITED_WITH_ERROR, kind) == Finish(TaskState.FAILED, "said")


def test_a_spent_budget_escalates_with_what_it_has():
    question = Question(reason="no money", options=["more"])
    assert decide_next(history(), Ending(Out.EXITED_WITH_ERROR, Kind.BUDGET, "said", question), NOW) == Escalate(
        question, "no money"
    )


@pytest.mark.parametrize("purse", list(Purse))
def test_a_spent_day_goes_on_with_the_next_and_counts_no_attempt(purse: Purse):
    ending = Ending(Out.EXITED_WITH_ERROR, Kind.BUDGET, "no money", purse=purse)
    following = decide_next(history(failures=2, orphans=1), ending, NOW)
    if purse is not Purse.DAY:
        assert isinstance(following, Escalate)
        return
    midnight = datetime(2026, 11, 3, tzinfo=UTC)
    assert following == Retry(midnight, f"no money; {TOMORROW}", failures=2, orphans=1)


def test_a_question_escalates_even_without_words():
    following = after(Out.ESCALATED)
    assert isinstance(following, Escalate)
    assert following.question.reason == "said"


@pytest.mark.parametrize("outcome", [Out.ORPHANED, Out.KILLED, Out.BAD_RESULT, Out.LOST, Out.UNKNOWN])
def test_vanished_runners_are_replaced_a_bounded_number_of_times_and_cost_no_failure(outcome: Out):
    for gone in range(3):
        following = after(outcome, orphans=gone)
        assert isinstance(following, Retry)
        assert (following.at, following.failures, following.orphans) == (None, 0, gone + 1)
    assert isinstance(after(outcome, orphans=3), Finish)


def test_no_orphan_is_replaced_where_the_settings_say_so():
    assert isinstance(decide_next(history(orphans=0, attempts=3), Ending(Out.COMPLETED), NOW), Finish)
    none_allowed = History(0, 0, 0, RetrySettings(orphans=0), 300.0)
    assert isinstance(decide_next(none_allowed, Ending(Out.ORPHANED), NOW), Finish)


def test_a_fault_of_the_machine_costs_no_retry_but_is_bounded():
    first = after(Out.ENVIRONMENT, failures=2, orphans=1)
    assert isinstance(first, Retry)
    assert (first.at, first.failures, first.orphans) == (NOW + timedelta(seconds=3), 2, 1)
    tenth = after(Out.ENVIRONMENT, hindered=9)
    assert isinstance(tenth, Retry)
    assert tenth.at == NOW + timedelta(seconds=60)
    assert after(Out.ENVIRONMENT, hindered=10) == Finish(TaskState.FAILED, "said; 11 times in a row")


def test_failed_starts_cost_no_retry_but_are_bounded():
    first = after(Out.FAILED_TO_START)
    assert isinstance(first, Retry)
    assert (first.failures, first.orphans) == (0, 0)
    assert first.at == NOW + timedelta(seconds=2)
    assert isinstance(after(Out.FAILED_TO_START, starts=1), Retry)
    assert isinstance(after(Out.FAILED_TO_START, starts=2), Finish)


def test_where_many_runners_may_vanish_many_may_before_they_begin():
    never_began = Ending(Out.FAILED_TO_START)
    retries = RetrySettings(attempts=3, orphans=50, environment=10)
    assert isinstance(decide_next(History(0, 0, 48, retries, 300.0), never_began, NOW), Retry)
    assert isinstance(decide_next(History(0, 0, 49, retries, 300.0), never_began, NOW), Finish)


def test_an_interrupted_attempt_is_queued_again_and_costs_nothing():
    assert after(Out.INTERRUPTED, failures=1, orphans=2) == Retry(None, "said", 1, 2)


def test_a_paused_attempt_pauses():
    assert after(Out.PAUSED) == Pause("said")


@pytest.mark.parametrize(("asked", "seconds"), [(90.0, 90.0), (0.0, 300.0)])
def test_a_stop_by_the_accounts_limits_pauses_the_queue_and_counts_nothing(asked: float, seconds: float):
    quota = QuotaStop(status=429, message="slow down", retry_after_seconds=asked)
    following = decide_next(history(), Ending(Out.QUOTA, quota=quota), NOW)
    assert isinstance(following, PauseQueue)
    assert following.until == NOW + timedelta(seconds=seconds)


def test_a_task_that_a_person_paused_does_not_go_on_when_the_accounts_limits_end():
    engine: Any = SimpleNamespace(settings=default_settings(), launcher=SimpleNamespace(fence_seconds=0.0))
    decision = SimpleNamespace(failures=0, orphans=0)
    for token in ("t", None):
        entry: Any = SimpleNamespace(decision=decision, ordered_end=None, pause_token=token)
        following = what_follows(engine, entry, Aftermath("p", 1, Ending(Out.QUOTA)), NOW)
        assert cast("PauseQueue", following).is_paused == (token is not None)


def test_waits_beyond_the_list_take_its_last_number():
    many = History(5, 0, 0, RetrySettings(attempts=9, waits=[1.0, 3.0]), 300.0)
    following = decide_next(many, Ending(Out.EXITED_WITH_ERROR, Kind.NETWORK), NOW)
    assert isinstance(following, Retry)
    assert following.at == NOW + timedelta(seconds=3)


def test_no_waits_mean_at_once():
    eager = History(0, 0, 0, RetrySettings(waits=[]), 300.0)
    following = decide_next(eager, Ending(Out.EXITED_WITH_ERROR, Kind.NETWORK), NOW)
    assert isinstance(following, Retry)
    assert following.at == NOW


@pytest.mark.parametrize(("outcome", "waits"), [(Out.LOST, True), (Out.UNKNOWN, True), (Out.KILLED, False)])
def test_a_successor_waits_where_nobody_knows_whether_the_runner_still_lives(outcome: Out, waits: bool):
    fenced = History(0, 0, 0, RetrySettings(), 300.0, fence_seconds=60.0)
    following = decide_next(fenced, Ending(outcome), NOW)
    assert isinstance(following, Retry)
    assert following.at == (NOW + timedelta(seconds=60) if waits else None)
