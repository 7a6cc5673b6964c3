"""`role-history.json`: what the last finished tasks of each role took, for estimates. Derived, never fsynced."""

from __future__ import annotations

from pydantic import Field

from haikud.contracts.base import Model

MOST_TASKS = 50
"""Of one role: older ones say less about the next."""

MOST_ROLES = 100
"""A repository may name as many roles as it likes: those that finished nothing for the longest time are forgotten."""


class FinishedTask(Model):
    """What one task took that has succeeded, over all its attempts."""

    cost_usd: float = Field(ge=0)
    sonnet_cost_usd: float = Field(0.0, ge=0)
    seconds: float = Field(ge=0)


class RoleHistoryRecord(Model):
    """Role -> its last finished tasks, the newest last; the role that finished something last comes last."""

    roles: dict[str, list[FinishedTask]]
