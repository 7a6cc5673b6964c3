"""What was spent today (UTC): by the gateway's calls, and by attempts without a gateway.

The gateway's journal says what its calls cost: it is summed at the start, and the gateway tells of every change. What
attempts cost that have no gateway (those of an older daemon, which run on) stands in a small file of its own, written
before the decision that settles them, with the attempt's name: a crash between the two neither loses the cost nor
counts it twice. A file that is missing, broken or of another day counts as nothing spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from haikud.contracts.day_record import DayRecord
from haikud.contracts.usage import add_dollars
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump_as_is, read_model

MOST_NAMES = 100
"""More attempts than can have been counted and not settled when a daemon died."""


@dataclass
class DaySpend:
    """The sum of a day. `day` is a date in UTC."""

    path: Path
    day: date
    spent_usd: float = 0.0
    counted: list[str] = field(default_factory=list)  # the last attempts in it
    by_gateway_usd: float = 0.0  # by calls that have ended

    def at(self, now: datetime) -> float:
        """What has been spent on the day of `now`; a new day begins with nothing."""
        self._turn(now)
        return add_dollars(self.spent_usd, self.by_gateway_usd)

    def hear(self, usd: float, now: datetime) -> None:
        """The gateway's calls of the day have cost that, in all."""
        self._turn(now)
        self.by_gateway_usd = usd

    def _turn(self, now: datetime) -> None:
        if now.date() != self.day:
            self.day, self.spent_usd, self.counted, self.by_gateway_usd = now.date(), 0.0, [], 0.0

    def count(self, name: str, usd: float, now: datetime) -> None:
        """Count what an attempt (REF.N) without a gateway spent, once, durably. OSError: then it is not counted."""
        self._turn(now)
        spent = round(self.spent_usd + usd, 9)
        if name in self.counted:
            return
        counted = [*self.counted, name][-MOST_NAMES:]
        write_durably(self.path, dump_as_is(DayRecord(day=self.day, cost_usd=spent, counted=counted)))
        self.spent_usd, self.counted = spent, counted


def read_day_spend(layout: SpoolLayout, now: datetime) -> DaySpend:
    """The sum of what had no gateway, as the last daemon left it."""
    path = layout.day_spend_file
    try:
        record = read_model(path, DayRecord)
    except UnreadableFile:
        record = None
    if record is None or record.day != now.date():
        return DaySpend(path, now.date())
    return DaySpend(path, now.date(), record.cost_usd, list(record.counted))
