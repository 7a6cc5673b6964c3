"""What the API's headers say of its limits. Pure.

    retry-after-ms, retry-after                           how long to wait; seconds, or an HTTP date
    anthropic-ratelimit-MEASURE-{limit,remaining,reset}   MEASURE: requests, tokens, input-tokens, output-tokens
    anthropic-ratelimit-unified-reset                     of a subscription's key: seconds since 1970

The API's documentation: limits are token buckets, each model's its own; they fill up evenly, `reset` (RFC 3339) is
when a bucket will be full again, `remaining` tokens are rounded to thousands, and input that is read from the cache
does not count for most models. `tokens` is whichever limit of tokens is the tightest.

Promises: what makes no sense is as if it were not there, and nothing here raises. Times are counted from the
answer's own `date`, so that a clock of ours that is wrong does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

LONGEST_PAUSE = 86_400.0
"""Seconds. Whoever asks for more is asked again after a day."""

LONGEST_WINDOW = 3_600.0
"""Seconds. The API's limits are per minute: a reset that is further away is none that is worth waiting for."""


class Measure(StrEnum):
    """What a limit counts, as its headers name it."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT = "input-tokens"
    OUTPUT = "output-tokens"


@dataclass(frozen=True)
class Window:
    """One limit as an answer told it. Times are monotonic seconds; `reset_at` is later than `heard_at`."""

    limit: float
    remaining: float  # may be below 0, where calls have been sent since
    rate: float  # what comes back each second
    heard_at: float
    reset_at: float

    def left(self, now: float) -> float:
        """What should be left by now."""
        if now >= self.reset_at:
            return self.limit
        return min(self.limit, self.remaining + self.rate * max(0.0, now - self.heard_at))

    def when(self, amount: float, now: float) -> float:
        """From when on so much should be there: not before now, and never after the reset."""
        if now >= self.reset_at or self.left(now) >= amount:
            return now
        missing = amount - self.left(now)
        return min(self.reset_at, now + missing / self.rate) if self.rate > 0 else self.reset_at


def read_windows(headers: Mapping[str, str], now: float, wall: datetime) -> dict[Measure, Window]:
    """The limits that an answer tells sensibly and whose reset is still to come."""
    known = lower(headers)
    found = {}
    for measure in Measure:
        start = f"anthropic-ratelimit-{measure}-"
        limit, remaining = _number(known.get(f"{start}limit")), _number(known.get(f"{start}remaining"))
        seconds = _seconds_until(known.get(f"{start}reset"), known, wall)
        if limit is None or remaining is None or seconds is None:
            continue
        if 0 <= remaining <= limit and limit > 0 and 0 < seconds <= LONGEST_WINDOW:
            found[measure] = Window(limit, remaining, (limit - remaining) / seconds, now, now + seconds)
    return found


def read_retry_after(headers: Mapping[str, str], wall: datetime) -> float | None:
    """Seconds that the API asks to wait: above 0, at most a day; None where it says nothing sensible."""
    known = lower(headers)
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(known.get(name))
        if seconds is not None and seconds * unit > 0:
            return min(seconds * unit, LONGEST_PAUSE)
    seconds = _seconds_until(known.get("retry-after"), known, wall)
    if seconds is None:
        reset = _number(known.get("anthropic-ratelimit-unified-reset"))
        seconds = None if reset is None else reset - _sent_at(known, wall).timestamp()
    return min(seconds, LONGEST_PAUSE) if seconds is not None and seconds > 0 else None


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """The same with names in lower case."""
    return {str(name).lower(): value for name, value in headers.items()}


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(text: str | None, known: Mapping[str, str], wall: datetime) -> float | None:
    moment = _moment(text)
    return None if moment is None else (moment - _sent_at(known, wall)).total_seconds()


def _sent_at(known: Mapping[str, str], wall: datetime) -> datetime:
    return _moment(known.get("date")) or wall


def _moment(text: str | None) -> datetime | None:
    """RFC 3339, or an HTTP date."""
    if not text:
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None
