"""Budgets: how much the next attempt may spend. Pure sums over task, plan and day.

Limits are hard also while attempts run side by side: what a running attempt was allotted counts as spent until it has
ended. So a task may have to wait until others have ended and given back what they did not use.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_USD = 0.001
"""Less than this is nothing: no model call fits."""


@dataclass(frozen=True)
class Purse:
    """One limit: what it allows, what is spent, and what running attempts may still spend of it."""

    name: str  # task, plan or day
    limit: float
    spent: float
    reserved: float = 0.0

    @property
    def left(self) -> float:
        """What is left, were all running attempts to give everything back."""
        return self.limit - self.spent


@dataclass(frozen=True)
class Allotment:
    """The answer: `usd` to start with; or `wait` for running attempts; or `exhausted` names the limit."""

    usd: float = 0.0
    wait: bool = False
    exhausted: Purse | None = None


def allot(task: Purse, plan: Purse, day: Purse) -> Allotment:
    """What the next attempt of a task may spend: the tightest of the three."""
    purses = (task, plan, day)
    for purse in purses:
        if purse.left < SMALLEST_USD:
            return Allotment(exhausted=purse)
    wanted = min(purse.left for purse in purses)
    if any(purse.left - purse.reserved < wanted - 1e-9 for purse in purses):
        return Allotment(wait=True)
    return Allotment(usd=round(wanted, 6))
