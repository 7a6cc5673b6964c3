"""Budgets are hard: an attempt starts as long as task, plan and day have something left; the gateway caps each call."""

from __future__ import annotations

from datetime import UTC, datetime

from haikud.contracts import gateway
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
