"""The ledger: a plan's append-only history for people and costs; never needed to recover."""

from __future__ import annotations

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.usage import UsageTotal


class LedgerEntry(Model):
    """One line of `ledger.jsonl`."""

    at: Timestamp
    event: str  # admitted, decided, answered, dropped_again, control, guidance, raised, note, merged, merge_blocked
    ref: str | None = None
    state: str | None = None
    attempt: int | None = None
    outcome: str | None = None
    message: str = ""
    usage: UsageTotal | None = None
    detail: JsonObject = Field(default_factory=dict)
