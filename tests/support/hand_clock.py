"""A clock that goes only when it is told to, for what waits by `haikud.gateway.waiting.Clock`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@dataclass(eq=False)
class Alarm:
    """A call that is due at a time."""

    when: float
    callback: Callable[[], None]
    called_off: bool = False

    def cancel(self) -> None:
        self.called_off = True


@dataclass(eq=False)
class HandClock:
    """`jump` moves the wall clock only, as an administrator does."""

    seconds: float = 1000.0
    start: datetime = START
    alarms: list[Alarm] = field(default_factory=list)
    rung: int = 0

    def now(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds - 1000.0)

    def jump(self, seconds: float) -> None:
        self.start += timedelta(seconds=seconds)

    def call_at(self, when: float, callback: Callable[[], None]) -> Alarm:
        alarm = Alarm(when, callback)
        self.alarms.append(alarm)
        return alarm

    @property
    def pending(self) -> list[float]:
        """When it will ring next, in seconds from now."""
        self.alarms = [one for one in self.alarms if not one.called_off]
        return sorted(one.when - self.seconds for one in self.alarms)

    async def go(self, seconds: float = 0.0) -> None:
        """Let so much time pass, ringing on the way, and let everybody do what they then can."""
        await settle()
        until = self.seconds + seconds
        for _ in range(10_000):
            due = [one for one in self.alarms if not one.called_off and one.when <= until]
            if not due:
                break
            alarm = min(due, key=lambda one: one.when)
            self.alarms.remove(alarm)
            self.seconds = max(self.seconds, alarm.when)
            self.rung += 1
            alarm.callback()
            await settle()
        else:
            raise AssertionError("the clock is rung without end")
        self.seconds = until
        await settle()


async def settle() -> None:
    """Let all tasks run until each waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)
