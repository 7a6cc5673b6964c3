"""What was spent today (UTC): a small derived file, so that the day's budget holds over a restart.

It is written after every attempt that cost something. What is running is not in it; the board reserves for that. A
file that is missing, broken or of another day counts as nothing spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from haikud.contracts.day_record import DayRecord
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump, read_model


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
        write_durably(self.path, dump(DayRecord(day=self.day, cost_usd=round(self.spent_usd, 9))))


def read_day_spend(layout: SpoolLayout, now: datetime) -> DaySpend:
    """The sum as the last daemon left it."""
    path = layout.day_spend_file
    try:
        record = read_model(path, DayRecord)
    except UnreadableFile:
        record = None
    known = record is not None and record.day == now.date()
    return DaySpend(path, now.date(), record.cost_usd if record is not None and known else 0.0)


def next_midnight(now: datetime) -> datetime:
    """When the next day begins, in UTC."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
