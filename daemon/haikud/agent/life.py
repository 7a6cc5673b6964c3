"""Signs of life of a command: what the monitors take for silence, and what not.

A command with a time limit of its own may be as silent as it likes: that is said when it begins, and now and then while
it runs. An agent without one gives a sign by what it prints; that it merely exists is said too, and counts for nothing.
"""

from __future__ import annotations

import time

from haikud.agent.events import EventLog
from haikud.contracts.settings import MonitorSettings

LONGEST_SECONDS = 30.0
_PARTS = 4
"""At least so many signs in the time that counts as silence."""


class SignsOfLife:
    """Of one command; `limit`: seconds after which it is ended, if any."""

    def __init__(self, events: EventLog, what: str, settings: MonitorSettings, limit: float | None) -> None:
        self._events = events
        self._what = what
        self._limit = limit
        self._every = seconds_between(settings)
        self._began = self._said = time.monotonic()
        self._heard: float | None = None
        if limit is not None:
            events.busy(limit)

    def heard(self) -> None:
        """It has printed something."""
        self._heard = time.monotonic()

    def look(self) -> None:
        """Say how it is, where it is time to."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        message = f"{self._what} has been running for {now - self._began:.0f} s"
        if self._limit is not None:
            self._events.busy(max(0.0, self._began + self._limit - now), message)
        elif self._heard is not None:
            self._events.output(message, self._heard)
        else:
            self._events.waits(message)
        self._heard = None


def seconds_between(settings: MonitorSettings) -> float:
    """Between two signs."""
    return min(LONGEST_SECONDS, settings.silence_seconds / _PARTS) if settings.silence_seconds else LONGEST_SECONDS
