"""What routing thought of a task at admission: Haiku's or Sonnet's, and why. It stands in plan.json; it binds none."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from haikud.contracts.base import Model


class Routed(StrEnum):
    """Whose work a task looks like."""

    HAIKU = "haiku"
    SONNET = "sonnet"


class RoutingAdvice(Model):
    """One task's advice. Made once: a daemon with other rules does not think again about an admitted task."""

    model: Routed
    score: int  # the weights of all grounds together; above 0 it looks like Sonnet's
    grounds: list[str] = Field(default_factory=list)  # the heaviest first, each with its weight and the guide's factor
    unchecked: list[str] = Field(default_factory=list)  # what the guide's checklist misses, with reasons
