"""Trouble of the environment: a full disk, a read-only spool, no more descriptors. Never a reason to crash.

What fails with an OSError is said once, shown in status.json while it lasts, and tried again every few seconds; the
rest of the daemon goes on. Any other exception is a bug of ours and is not caught here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

RETRY_SECONDS = 3.0
"""How long something that failed is left alone before the next try."""


class Trouble:
    """The faults that last. `clock` gives monotonic seconds."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._texts: dict[str, str] = {}
        self._retry_at: dict[str, float] = {}

    @property
    def texts(self) -> list[str]:
        """What is wrong now, for status.json."""
        return sorted(self._texts.copy().values())

    @contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        """Run a step of which a failure of the environment is noted and survived; success ends the trouble."""
        try:
            yield
        except OSError as error:
            self.note(doing, error)
        else:
            self.heal(doing)

    def note(self, doing: str, error: BaseException) -> None:
        """`doing` failed. Said when it is new."""
        text = f"{doing}: {error}"
        if doing not in self._texts:
            self._say(f"trouble: {text}; tried again every {RETRY_SECONDS:g} s")
        self._texts[doing] = text
        self._retry_at[doing] = self._clock() + RETRY_SECONDS

    def heal(self, doing: str) -> None:
        """`doing` works (again)."""
        if self._texts.pop(doing, None) is not None:
            self._retry_at.pop(doing, None)
            self._say(f"healed: {doing}")

    def must_wait(self, doing: str) -> bool:
        """Whether `doing` failed so lately that it is not tried again yet."""
        return self._clock() < self._retry_at.get(doing, 0.0)

    def next_try(self) -> float | None:
        """When something is to be tried again, monotonic seconds."""
        return min(list(self._retry_at.values()), default=None)
