"""How an attempt ended, judged from what is left of it."""

from __future__ import annotations

import pytest
from tests.support.made import make_decision, make_plan, make_result, make_task

from haikud.contracts.attempt import EXIT_ENVIRONMENT, EndOrder
from haikud.contracts.settings import default_settings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.attempts.aftermath import judge
from haikud.engine.attempts.specs import agent_id, retry_of
from haikud.engine.budgets import TOMORROW
from haikud.engine.launchers.protocol import End, EndKind
from haikud.engine.policy import VANISHED

GONE = End(EndKind.EXITED, 1)
Out = AttemptOutcome


def judged(**given: object) -> AttemptOutcome:
    facts = {"result": None, "broken": None, "end": GONE, "order": None, "ref": "p.t", "attempt": 1, "began": True}
    return judge(**{**facts, **given}).outcome  # type: ignore[arg-type]


def test_a_result_says_it_whatever_else_is_known():
    assert judged(result=make_result(Out.ESCALATED), order=EndOrder.CANCEL) is Out.ESCALATED


def test_an_interruption_that_nobody_ordered_counts_as_a_killed_runner():
    interrupted = make_result(Out.INTERRUPTED)
    assert judged(result=interrupted, order=EndOrder.INTERRUPT) is Out.INTERRUPTED
    assert judged(result=interrupted, order=EndOrder.TIME_LIMIT) is Out.TIMED_OUT
    assert judged(result=interrupted) is Out.KILLED
    assert Out.KILLED in VANISHED


def test_another_attempts_result_is_none():
    assert judged(result=make_result(attempt=2)) is Out.BAD_RESULT


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"broken": "no JSON"}, Out.BAD_RESULT),
        ({"order": EndOrder.CANCEL}, Out.CANCELLED),
        ({"order": EndOrder.INTERRUPT}, Out.INTERRUPTED),
        ({"order": EndOrder.TIME_LIMIT}, Out.TIMED_OUT),
        ({"began": False}, Out.FAILED_TO_START),
        ({"end": End(EndKind.EXITED, EXIT_ENVIRONMENT)}, Out.ENVIRONMENT),
        ({"end": End(EndKind.EXITED, EXIT_ENVIRONMENT), "began": False}, Out.ENVIRONMENT),
        ({"began": False, "end": End(EndKind.NEVER_LAUNCHED)}, Out.INTERRUPTED),
        ({"end": End(EndKind.NEVER_LAUNCHED)}, Out.ORPHANED),
        ({"end": End(EndKind.EXITED, -9)}, Out.KILLED),
        ({"end": End(EndKind.EXITED)}, Out.ORPHANED),
        ({"end": End(EndKind.EXITED, 1)}, Out.ORPHANED),
        ({"end": End(EndKind.LOST)}, Out.LOST),
        ({"end": End(EndKind.UNKNOWN)}, Out.UNKNOWN),
    ],
)
def test_without_a_result(given: dict, outcome: Out):
    assert judged(**given) is outcome


def decisions(*steps: tuple[TaskState, dict]) -> list:
    return [make_decision(state, number=number, **fields) for number, (state, fields) in enumerate(steps, 1)]


def test_a_retry_is_numbered_so_that_the_log_reads_2_of_3():
    steps = decisions(
        (TaskState.RUNNING, {"attempt": 1}),
        (TaskState.DEFERRED, {"attempt": 1, "outcome": Out.EXITED_WITH_ERROR, "failures": 1, "reason": "network"}),
        (TaskState.QUEUED, {"attempt": 1, "failures": 1}),
    )
    assert retry_of(steps, default_settings()) == ("network", 3)


def test_what_a_question_a_pause_or_a_person_caused_is_no_retry():
    for outcome in (Out.ESCALATED, Out.PAUSED, Out.QUOTA, Out.INTERRUPTED):
        steps = decisions((TaskState.QUEUED, {"outcome": outcome}))
        assert retry_of(steps, default_settings()) == (None, None)
    spent = (TaskState.DEFERRED, {"outcome": Out.EXITED_WITH_ERROR, "reason": f"no money; {TOMORROW}"})
    assert retry_of(decisions(spent, (TaskState.QUEUED, {})), default_settings()) == (None, None)
    failed = (TaskState.FAILED, {"outcome": Out.EXITED_WITH_ERROR, "failures": 3})
    assert retry_of(decisions(failed, (TaskState.QUEUED, {})), default_settings()) == (None, None)


def test_agents_are_numbered_by_their_place_in_the_plan():
    plan = make_plan(make_task("a"), make_task("b"))
    assert agent_id(plan, plan.tasks[1], "parallel-task-executor") == "parallel-task-executor-2"
