"""`gateway/usage/YYYY-MM-DD.jsonl`: what model calls cost, one line a step, written by the gateway alone.

A call is `reserved` with the most that it can cost before it is made, and ends as `used` (what it did cost) or
`released` (nothing to pay). A gateway that finds a reservation without an end at its start was killed in the middle of
that call: nobody can say what the API has counted, so it is `lost` and counts as the most. A call belongs to the UTC
day on which it began: all its lines lie in that day's file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.ids import Id, Ref
from haikud.contracts.usage import UsageEntry, UsageTotal


class CallStep(StrEnum):
    """What a line says about its call."""

    RESERVED = "reserved"  # it begins; `entry` is the most that it can cost
    USED = "used"  # it has ended; `entry` is what it cost, `estimated` where the answer was cut
    RELEASED = "released"  # it has ended and cost nothing: refused, never sent
    LOST = "lost"  # the gateway died during it; `entry` is the most that it can have cost, `estimated`


class JournalLine(Model):
    """One line."""

    step: CallStep
    call: str  # the same in all lines of a call
    at: Timestamp
    ref: Ref
    plan: Id
    task: Id
    attempt: int = Field(ge=1)
    role: str
    entry: UsageEntry | None = None  # none with `released`


class AttemptUsage(Model):
    """`attempt-N/usage.json`: what an attempt's calls cost in all, by the journal; durable before it is settled."""

    format: Literal[1] = 1
    ref: Ref
    attempt: int = Field(ge=1)
    total: UsageTotal = Field(default_factory=UsageTotal)
    by_model: dict[str, UsageTotal] = Field(default_factory=dict)
    estimated_usd: float = Field(0.0, ge=0)  # of `total.cost_usd`: calls that were cut or lost
