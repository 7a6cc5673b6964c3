"""Budgets: how much the next attempt may spend. Pure sums over task, plan and day.

The gateway holds every single call to them, so that nothing is set aside for a running attempt: one starts as long as
each of its three purses has something left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from haikud.contracts import gateway

SMALLEST_USD = 0.001
"""Less than this is nothing: no model call fits."""

TOMORROW = "goes on tomorrow (UTC)"
"""How the reason of a decision ends that waits for the next day's budget."""


@dataclass(frozen=True)
class Purse:
    """One limit: what it allows, and what is spent of it, by running attempts too as far as is known."""

    name: gateway.Purse
    limit: float
    spent: float

    @property
    def left(self) -> float:
        """What is left."""
        return self.limit - self.spent


@dataclass(frozen=True)
class Allotment:
    """The answer: `usd` is what is left; or `exhausted` names the limit."""

    usd: float = 0.0
    exhausted: Purse | None = None


def allot(*purses: Purse) -> Allotment:
    """What the next attempt of a task may spend: what the tightest of its purses holds."""
    for purse in purses:
        if purse.left < SMALLEST_USD:
            return Allotment(exhausted=purse)
    return Allotment(usd=round(min(purse.left for purse in purses), 6))


def next_midnight(now: datetime) -> datetime:
    """When the next day begins, in UTC."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
