"""Waiting for a file lock that another program holds: in place, up to `limits.lock_seconds` (the guide: 30 s).

What meets the lock is done again from its beginning, so it must bear that; every step of ours does, since a crash may
cut it short anywhere. TERM ends the wait at once.
"""

from __future__ import annotations

import time

from haikud.agent.attempt import Attempt

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 4.0


class LockWait:
    """One wait for one lock, however often it is met."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._began: float | None = None
        self._pause = _FIRST_WAIT
        self.tries = 0

    def once_more(self, said: str) -> bool:
        """Wait a little; False, at once, where the time is up or the attempt is told to end."""
        limit = self._attempt.spec.limits.lock_seconds
        now = time.monotonic()
        if self._began is None:
            self._began = now
            if limit > 0:
                words = f"a file lock is held: waiting up to {limit:g} s ({said})"
                self._attempt.say(words)
                self._attempt.events.note(words[:300])
        left = self._began + limit - now
        if left <= 0 or self._attempt.stop.wait(min(self._pause, left)):
            return False
        self._pause = min(self._pause * 2, _LONGEST_WAIT)
        self.tries += 1
        return True

    def describe(self) -> str:
        """What was done, for a report."""
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        return f"Waited {seconds:.0f} s for the file lock, tried {self.tries + 1} times"
