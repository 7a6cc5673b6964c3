"""Budgets are hard: an attempt starts as long as task, plan and day have something left; the gateway caps each call."""

from __future__ import annotations

from datetime import UTC, datetime

from haikud.contracts import gateway
from haikud.engine.attempts.money import spent_question
from haikud.engine.budgets import Allotment, Purse, allot, next_midnight


def purses(task: float = 0.5, plan: float = 5.0, day: float = 20.0) -> list[Purse]:
    limits = {gateway.Purse.TASK: task, gateway.Purse.PLAN: plan, gateway.Purse.DAY: day}
    return [Purse(name, limit, 0.0) for name, limit in limits.items()]


def test_the_tightest_limit_counts():
    assert allot(*purses()) == Allotment(usd=0.5)
    assert allot(*purses(plan=0.2)) == Allotment(usd=0.2)
    assert allot(*purses(day=0.1)) == Allotment(usd=0.1)


def test_what_is_spent_is_gone():
    task = Purse(gateway.Purse.TASK, 0.5, 0.4)
    assert allot(task, *purses()[1:]).usd == 0.1


def test_a_spent_limit_is_named():
    task, plan, _ = purses()
    day = Purse(gateway.Purse.DAY, 20.0, 20.0)
    assert allot(task, plan, day).exhausted == day


def test_the_next_day_begins_at_midnight_in_utc():
    assert next_midnight(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_the_question_of_a_spent_budget_says_what_can_be_done_about_it():
    plan = Purse(gateway.Purse.PLAN, 0.003, 0.0024)
    untouched = spent_question("p.a", plan, "spent", begun=False, task_usd=0.5)
    assert untouched.options[0].startswith("Raise budgets.plan_usd in haikud.yaml, reload or restart the daemon")
    assert "branch" not in " ".join([untouched.recommendation or "", *untouched.options])  # there is none
    begun = spent_question("p.a", Purse(gateway.Purse.TASK, 0.5, 0.5), "spent", begun=True, task_usd=0.5)
    assert begun.options[0].startswith("Raise budgets.task_usd")
    assert "branch" in (begun.recommendation or "")


def test_a_budget_that_the_task_states_itself_is_not_raised_by_the_settings():
    own = Purse(gateway.Purse.TASK, 0.01, 0.01)
    asked = spent_question("p.a", own, "spent", begun=True, task_usd=0.5)
    assert "under a new id with a higher max_cost_usd" in asked.options[0]
    assert "budgets." not in asked.options[0]
