"""What the account allows, from what was heard. Pure: times come from the caller, nothing waits here.

Three things: a View, the limits as the last answers told them, less what was sent since; `judge`, what an answer
means for its call and for everybody; and the words for people.

The View is an estimate and only slows down, it never refuses: a tenth of a limit and less is spent evenly, a call
that needs more than is left waits until that has come back. Most of a conversation's input is read from the cache
and does not count, so a call is taken to need what its attempt's last one did not have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from haikud.contracts.gateway import PauseKind
from haikud.contracts.settings import ApiSettings
from haikud.gateway.headers import Measure, Window

LOW = 0.1
"""The share of a limit below which calls are spaced."""

ROUNDING = 1000.0
"""Tokens: the API rounds what remains to this. A call's output is not known beforehand: so much should be there."""

_FIRST_BACKOFF = 2.0
"""Seconds, where the settings say nothing (api.retry_waits is empty)."""

_SENT_KEPT = 512
_DUST = 1e-6


@dataclass(frozen=True)
class Need:
    """What a call is taken to use of each limit."""

    tokens: int = 0

    def of(self, measure: Measure, limit: float) -> float:
        """Never more than the limit: more than that is never there."""
        amounts = {Measure.REQUESTS: 1.0, Measure.OUTPUT: ROUNDING}
        return min(limit, amounts.get(measure, float(self.tokens)))

    def spent(self, measure: Measure) -> float:
        """What is counted as gone once the call is sent. Its output is not: the next answer tells."""
        amounts = {Measure.REQUESTS: 1.0, Measure.OUTPUT: 0.0}
        return amounts.get(measure, float(self.tokens))


class View:
    """The limits of one model."""

    def __init__(self) -> None:
        self._windows: dict[Measure, Window] = {}
        self._sent: deque[tuple[int, Need]] = deque(maxlen=_SENT_KEPT)  # calls later than the last one heard of
        self._last_sent = float("-inf")
        self._heard = 0

    def hear(self, windows: Mapping[Measure, Window], order: int) -> None:
        """An answer to the call that was sent as number `order` told these limits."""
        if order < self._heard or not windows:
            return  # a later call's answer told newer ones
        self._heard = order
        while self._sent and self._sent[0][0] <= order:
            self._sent.popleft()
        for measure, window in windows.items():
            since = sum(need.spent(measure) for _, need in self._sent)
            self._windows[measure] = replace(window, remaining=window.remaining - since)

    def send(self, order: int, need: Need, now: float) -> None:
        """A call is sent."""
        self._sent.append((order, need))
        self._last_sent = now
        for measure, window in self._windows.items():
            self._windows[measure] = replace(window, remaining=window.remaining - need.spent(measure))

    def ready_at(self, need: Need, now: float) -> float:
        """From when on a call should be sent: not before now, and never after the last reset."""
        self._windows = {measure: one for measure, one in self._windows.items() if one.reset_at > now}
        windows = self._windows.items()
        return max((self._ready_for(one, need.of(measure, one.limit), now) for measure, one in windows), default=now)

    def _ready_for(self, window: Window, amount: float, now: float) -> float:
        left, low = window.left(now), window.limit * LOW
        if left < amount - _DUST * window.limit:
            return window.when(amount, now)
        if left >= low - _DUST * window.limit or amount <= 0:
            return now
        evenly = self._last_sent + (window.reset_at - now) * amount / left
        return max(now, min(evenly, window.when(low, now), window.reset_at))


def used_up(windows: Mapping[Measure, Window]) -> dict[Measure, Window]:
    """Those of which nothing is left."""
    return {measure: one for measure, one in windows.items() if one.remaining <= 0}


@dataclass(frozen=True)
class Setback:
    """What an answer means: nothing is sent for so many seconds, by its call or by all; whether it is sent again."""

    kind: PauseKind
    seconds: float
    for_all: bool
    again: bool
    detail: str


def judge(
    status: int,
    error_type: str | None,
    *,
    retry_after: float | None,
    windows: Mapping[Measure, Window],
    refused: int,
    overloads: int,
    api: ApiSettings,
    message: str = "",
) -> Setback | None:
    """What an answer means; None where it is no limit's.

    `refused`: how often the limits have refused this call, this time included; `overloads`: the answers just before
    this one, of all calls, that spoke of an overload; `message`: the API's own words.
    """
    name = f"{status} {error_type}" if error_type else str(status)
    may_again = refused < api.quota_tries
    if status == 402 or error_type == "billing_error":
        said = _short(message) or "look at its credit and its spending limits"
        detail = f"the API refuses to work for this account ({name}): {said}"
        return Setback("billing", retry_after or api.quota_pause_seconds, for_all=True, again=False, detail=detail)
    if status == 429:
        empty = used_up(windows)
        asked = retry_after or max((one.reset_at - one.heard_at for one in empty.values()), default=None)
        seconds = asked or (backoff(refused, api) if may_again else api.quota_pause_seconds)
        detail = f"the API's rate limit ({name}): {_short(message) or _limit_words(empty, retry_after)}"
        return Setback("rate_limit", seconds, for_all=True, again=may_again, detail=detail)
    if status == 529 or (error_type == "overloaded_error" and status >= 400):
        seconds = (
            max(backoff(refused, api), retry_after or 0.0) if may_again else retry_after or api.quota_pause_seconds
        )
        for_all = overloads >= 1 or not may_again
        detail = f"the API is overloaded ({name}), {overloads + 1} answers in a row"
        return Setback("overloaded", seconds, for_all=for_all, again=may_again, detail=detail)
    return None


def backoff(refused: int, api: ApiSettings) -> float:
    """Seconds after so many refusals of one call: api.retry_waits' first, doubled each time."""
    first = api.retry_waits[0] if api.retry_waits and api.retry_waits[0] > 0 else _FIRST_BACKOFF
    most = api.quota_wait_seconds or api.quota_pause_seconds
    return float(min(first * 2.0 ** min(refused - 1, 32), most))


PROBE_WAITS = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds between looks for an API that cannot be reached; the last one holds from there on."""


def probe_wait(number: int) -> float:
    """Seconds before the look with that number, from 0."""
    return PROBE_WAITS[min(number, len(PROBE_WAITS) - 1)]


def pause_words(kind: PauseKind, detail: str, until: datetime, now: datetime) -> str:
    """The reason of a pause with its end, in UTC: for a caller who sees nothing else."""
    moment = f"{until:%H:%M:%S} UTC" if until.date() == now.date() else f"{until:%Y-%m-%d %H:%M:%S} UTC"
    end = {"unreachable": "looked for again at", "billing": "tried again at"}.get(kind, "goes on at")
    return f"{detail}; {end} {moment}"


def unreachable_words(error: BaseException | str) -> str:
    """Why the API cannot be reached; never more than a line."""
    cause = getattr(error, "os_error", error)  # what a client's own error stands for
    said = getattr(cause, "strerror", None) or str(cause).strip() or type(cause).__name__
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    text = f"{host}:{port}: {said}" if host and port else str(said)
    return f"the API cannot be reached ({_short(text)})"


def _short(text: str) -> str:
    """On one line, without its last full stop: more follows."""
    return " ".join(text.split())[:200].rstrip(".")


def _limit_words(empty: Mapping[Measure, Window], retry_after: float | None) -> str:
    if empty:
        parts = [f"{measure.replace('-', ' ')} used up (0 of {one.limit:,.0f} left)" for measure, one in empty.items()]
        return ", ".join(parts)
    if retry_after is not None:
        return f"it asks to wait {retry_after:,.0f} s" if retry_after >= 1 else f"it asks to wait {retry_after:.1f} s"
    return "it does not say for how long"
