"""Who spent how much on what: the journal's calls, summed up by plan, day, role and model. Pure.

Dollars are added as decimals. A call that is under way is told apart and is in no sum: what stands in the journal then
is the most that it can cost.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from haikud.contracts.base import JsonObject
from haikud.contracts.usage import UsageEntry
from haikud.contracts.usage_journal import JournalLine

GROUPS = ("plan", "day", "role", "model")


@dataclass
class Spent:
    """What some calls cost, and what they would have cost at Sonnet's prices."""

    calls: int = 0
    input_tokens: int = 0  # of every class
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    estimated: Decimal = Decimal(0)  # of `cost`: calls that were cut or lost
    at_sonnet: Decimal = Decimal(0)
    calls_under_way: int = 0
    under_way: Decimal = Decimal(0)  # at most

    def count(self, entry: UsageEntry, *, is_open: bool) -> None:
        """Count a call that has ended; or, where it `is_open`, the most that it can cost."""
        cost = Decimal(repr(entry.cost_usd))
        if is_open:
            self.calls_under_way += 1
            self.under_way += cost
            return
        self.calls += 1
        self.input_tokens += entry.tokens_used - entry.output_tokens
        self.output_tokens += entry.output_tokens
        self.cost += cost
        self.at_sonnet += Decimal(repr(entry.sonnet_cost_usd))
        if entry.estimated:
            self.estimated += cost

    def as_json(self) -> JsonObject:
        """The fields of a row of `haikud cost --json`."""
        saved = self.at_sonnet - self.cost
        return {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": float(self.cost),
            "estimated_usd": float(self.estimated),
            "if_all_sonnet": float(self.at_sonnet),
            "savings_usd": float(saved),
            "savings_percent": round(float(100 * saved / self.at_sonnet), 1) + 0.0 if self.at_sonnet else 0.0,
            "calls_under_way": self.calls_under_way,
            "under_way_usd": float(self.under_way),
        }


@dataclass
class Attribution:
    """All calls, and the same by group; `groups` has a key for each of GROUPS."""

    total: Spent = field(default_factory=Spent)
    groups: dict[str, dict[str, Spent]] = field(default_factory=lambda: {group: defaultdict(Spent) for group in GROUPS})

    def count(self, line: JournalLine, entry: UsageEntry, day: date, *, is_open: bool) -> None:
        """Count a call: its last line, what it cost (or can cost at most, where `is_open`), the day it began."""
        names = {"plan": line.plan, "day": day.isoformat(), "role": line.role, "model": entry.model}
        for row in (self.total, *(self.groups[group][name] for group, name in names.items())):
            row.count(entry, is_open=is_open)

    def rows(self, group: str) -> list[tuple[str, Spent]]:
        """A group's rows: days in order, all else with the dearest first."""
        found = self.groups[group].items()
        if group == "day":
            return sorted(found)
        return sorted(found, key=lambda row: (-row[1].cost, row[0]))
