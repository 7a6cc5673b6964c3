"""What was spent today (UTC): a small derived file, so that the day's budget holds over a restart.

It is written before every decision that settles an attempt which cost something, with the attempt's name: a crash
between the two neither loses the cost nor counts it twice. What is running is not in it; the board reserves for that.
A file that is missing, broken or of another day counts as nothing spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from haikud.contracts.day_record import DayRecord
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump, read_model

MOST_NAMES = 100
"""More attempts than can have been counted and not settled when a daemon died."""


@dataclass
class DaySpend:
    """The sum of a day. `day` is a date in UTC."""

    path: Path
    day: date
    spent_usd: float = 0.0
    counted: list[str] = field(default_factory=list)  # the last attempts in it

    def at(self, now: datetime) -> float:
        """What has been spent on the day of `now`; a new day begins with nothing."""
        if now.date() != self.day:
            self.day, self.spent_usd, self.counted = now.date(), 0.0, []
        return self.spent_usd

    def count(self, name: str, usd: float, now: datetime) -> None:
        """Count what an attempt (REF.N) spent, once, durably. Raises OSError: then it is not counted."""
        spent = round(self.at(now) + usd, 9)
        if name in self.counted:
            return
        counted = [*self.counted, name][-MOST_NAMES:]
        write_durably(self.path, dump(DayRecord(day=self.day, cost_usd=spent, counted=counted)))
        self.spent_usd, self.counted = spent, counted


def read_day_spend(layout: SpoolLayout, now: datetime) -> DaySpend:
    """The sum as the last daemon left it."""
    path = layout.day_spend_file
    try:
        record = read_model(path, DayRecord)
    except UnreadableFile:
        record = None
    if record is None or record.day != now.date():
        return DaySpend(path, now.date())
    return DaySpend(path, now.date(), record.cost_usd, list(record.counted))


def next_midnight(now: datetime) -> datetime:
    """When the next day begins, in UTC."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
