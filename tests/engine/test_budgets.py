"""Budgets are hard, also while attempts run side by side."""

from __future__ import annotations

from haikud.engine.budgets import Allotment, Purse, allot


def purses(task: float = 0.5, plan: float = 5.0, day: float = 20.0) -> tuple[Purse, Purse, Purse]:
    return Purse("task", task, 0.0), Purse("plan", plan, 0.0), Purse("day", day, 0.0)


def test_the_tightest_limit_counts():
    assert allot(*purses()) == Allotment(usd=0.5)
    assert allot(*purses(plan=0.2)) == Allotment(usd=0.2)
    assert allot(*purses(day=0.1)) == Allotment(usd=0.1)


def test_what_is_spent_is_gone():
    task = Purse("task", 0.5, 0.4)
    assert allot(task, *purses()[1:]).usd == 0.1


def test_a_spent_limit_is_named():
    task, plan, _ = purses()
    day = Purse("day", 20.0, 20.0)
    assert allot(task, plan, day).exhausted == day


def test_what_running_attempts_may_still_spend_is_waited_for():
    task, _, day = purses()
    assert allot(task, Purse("plan", 1.0, 0.2, reserved=0.5), day).wait
    assert allot(task, Purse("plan", 1.0, 0.0, reserved=0.5), day) == Allotment(usd=0.5)


def test_alone_a_task_gets_what_is_left():
    task, _, day = purses()
    assert allot(task, Purse("plan", 1.0, 0.7), day).usd == 0.3
