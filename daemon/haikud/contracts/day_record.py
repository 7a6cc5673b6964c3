"""`day-spend.json`: what attempts without a gateway spent on one day, so that its budget holds over a restart."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from haikud.contracts.base import Model


class DayRecord(Model):
    """US dollars of one UTC day."""

    day: date
    cost_usd: float = Field(0.0, ge=0)
    counted: list[str] = Field(default_factory=list)  # REF.N of the last attempts in it, so that none counts twice
