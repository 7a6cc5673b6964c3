"""What was spent today (UTC): a small derived file, so that the day's budget holds over a restart.

It is written after every attempt that cost something. What is running is not in it; the board reserves for that. A
file that is missing, broken or of another day counts as nothing spent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout


@dataclass
class DaySpend:
    """The sum of a day. `day` is a date in UTC."""

    path: Path
    day: date
    spent_usd: float = 0.0

    def at(self, now: datetime) -> float:
        """What has been spent on the day of `now`; a new day begins with nothing."""
        if now.date() != self.day:
            self.day, self.spent_usd = now.date(), 0.0
        return self.spent_usd

    def add(self, usd: float, now: datetime) -> None:
        """Spend, in memory; `save` writes it."""
        self.spent_usd = self.at(now) + usd

    def save(self) -> None:
        """Write the file. Raises OSError."""
        record = {"day": self.day.isoformat(), "cost_usd": round(self.spent_usd, 9)}
        write_durably(self.path, json.dumps(record).encode() + b"\n")


def read_day_spend(layout: SpoolLayout, now: datetime) -> DaySpend:
    """The sum as the last daemon left it."""
    path = layout.root / "day-spend.json"
    fresh = DaySpend(path, now.date())
    try:
        record = json.loads(path.read_bytes())
        spent = float(record["cost_usd"])
        if record["day"] != now.date().isoformat() or spent < 0:
            return fresh
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return fresh
    return DaySpend(path, now.date(), spent)


def next_midnight(now: datetime) -> datetime:
    """When the next day begins, in UTC."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
