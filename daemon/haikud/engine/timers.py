"""Times that are given by the wall clock, waited for by a clock that does not jump.

A wait is as long as it was meant to be when it was first seen here, whatever the wall clock does meanwhile. After a
restart it is at most as long as when it was decided. Waits of an hour and more may mean a time of day ("tomorrow"):
these are over when either clock says so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime

from haikud.contracts.base import utc_now

LONG_SECONDS = 3600.0


class Timers:
    """`clock` gives monotonic seconds, `wall` the time of day."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._wall = wall
        self._due: dict[Hashable, float] = {}  # monotonic seconds

    def seconds_left(self, key: Hashable, until: datetime, since: datetime) -> float:
        """How long until `until`, as it was decided at `since`; 0 where it is over. `key` names the wait."""
        now, length = self._wall(), max(0.0, (until - since).total_seconds())
        if key not in self._due:
            self._due[key] = self._clock() + min(length, max(0.0, (until - now).total_seconds()))
        if length >= LONG_SECONDS and now >= until:
            return 0.0
        return max(0.0, self._due[key] - self._clock())

    def keep(self, keys: set[Hashable]) -> None:
        """Forget all other waits."""
        for key in self._due.keys() - keys:
            del self._due[key]
