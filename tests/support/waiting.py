"""Waiting for a condition instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    *,
    seconds: float = 30.0,
    what: str | Callable[[], str] = "the condition",
    pause: float = 0.01,
) -> T:
    """The first truthy value of `condition`, asked every `pause` seconds; AssertionError after `seconds`.

    `what` is waited for; a callable tells it when the time is up, with what the logs say by then.
    """
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {seconds} s in vain for {told}; last value: {value!r}")
        time.sleep(pause)
