"""Money for a call: its worst case is reserved before it is made, and `max_tokens` is lowered to what there is.

Promises: what is reserved is never less than what the call can cost, as far as its input is bounded by its bytes (a
token has at least one) or counted by the API itself. Where other calls hold the money, the call waits for their ends
rather than be cut to a stump; where there is too little even without them, it is refused, and the refusal says whose
budget it was, what is left and what is needed. Fails with Refused, and with OSError where the journal refuses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptToken, Purse, Refusal
from haikud.contracts.usage import UsageEntry
from haikud.costs.prices import PriceList, UnknownPrice
from haikud.costs.tokens import estimate_tokens
from haikud.gateway.books import Books, Call, Room
from haikud.gateway.refusals import Refused
from haikud.gateway.requests import Asked

LEAST_OUTPUT = 256
"""Tokens: an answer that may be no longer than this is not worth its context."""

_WORTH_WAITING_FOR = 4_096
"""Tokens of output: rather than take less, a call waits for the ends of others."""

_WAIT_SECONDS = 300.0
_RETRY_SECONDS = 5.0

_COUNT_SLACK = 1.01
_COUNT_EXTRA = 64
_BYTES_PER_TOKEN = 2
"""For input that the API did not count: prose has twice that, digits and symbols come near it."""

_GUESS_EXTRA = 2_000

_OWNERS = {Purse.TASK: "this task's budget", Purse.PLAN: "this plan's budget", Purse.DAY: "today's budget of all plans"}

Counting = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True)
class Grant:
    """A call for which there is money."""

    call: Call
    asked: Asked  # with the `max_tokens` that it may have
    tokens: int  # of input, about: as counted, else estimated
    waited_seconds: float = 0.0


class Budgets:
    """Reserves money for calls."""

    def __init__(self, books: Books, prices: PriceList, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._books = books
        self._prices = prices
        self._wait_seconds = wait_seconds

    def require_price(self, model: str) -> None:
        """Refused where calls of that model cannot be priced; the message says the cure."""
        try:
            self._prices.require_price(model)
        except UnknownPrice as error:
            raise Refused(400, str(error), Refusal.PRICE) from error

    async def grant(self, token: AttemptToken, asked: Asked, count: Counting) -> Grant:
        """Reserve what a call can cost at the most. `count` asks the API for its input, and is not always called."""
        self.require_price(asked.model)
        began, counted, context = time.monotonic(), None, asked.bound
        is_exact = False
        while True:
            room = self._books.room(token, utc_now().date())
            if not asked.must_count or is_exact:
                granted = await self._try(token, asked, context, asked.max_tokens, room)
                if granted is not None:
                    tokens = counted if counted is not None else estimate_tokens(asked.data)
                    return Grant(granted, asked, tokens, time.monotonic() - began)
            if not is_exact:  # its bytes bound it too loosely: let the API count
                counted, is_exact = await count(), True
                context = self._context(asked, counted)
                continue
            clamped = self._clamp(asked, context, room)
            if clamped is not None:
                granted = await self._try(token, clamped, context, clamped.max_tokens, room)
                if granted is not None:
                    tokens = counted if counted is not None else estimate_tokens(asked.data)
                    return Grant(granted, clamped, tokens, time.monotonic() - began)
                continue
            left = self._wait_seconds - (time.monotonic() - began)
            if not self._would_fit(asked, context, room.usd_when_others_end):
                raise self._too_dear(asked, context, room)
            if left <= 0:
                raise Refused(
                    529,
                    f"other calls hold {_OWNERS[room.purse]}: try again later",
                    Refusal.LIMIT,
                    retry_after=_RETRY_SECONDS,
                )
            await self._books.changed(left)

    def _context(self, asked: Asked, counted: int | None) -> int:
        if counted is not None:
            exact = math.ceil(counted * _COUNT_SLACK) + _COUNT_EXTRA
            return exact if asked.must_count else min(asked.bound, exact)
        if asked.must_count:
            raise Refused(
                400,
                "messages: the API cannot be asked how long a document is, so its cost cannot be bounded; try again",
                Refusal.FEATURE,
            )
        beside = asked.bound - len(asked.data)
        return min(asked.bound, len(asked.data) // _BYTES_PER_TOKEN + beside + _GUESS_EXTRA)

    async def _try(self, token: AttemptToken, asked: Asked, context: int, max_tokens: int, room: Room) -> Call | None:
        """Reserve the worst case where there is room for it."""
        cost = self._worst(asked, context, max_tokens)
        if cost > room.usd:
            return None
        return await self._books.reserve(token, self._most(asked, context, max_tokens, cost))

    def _clamp(self, asked: Asked, context: int, room: Room) -> Asked | None:
        """The call with the output that there is money for; None where that is too little, or more comes by waiting."""
        fits = self._output_within(asked, context, room.usd)
        later = self._output_within(asked, context, room.usd_when_others_end)
        least = min(asked.max_tokens, _WORTH_WAITING_FOR if later > fits else LEAST_OUTPUT)
        return asked.within(fits) if fits >= least and fits > 0 else None

    def _would_fit(self, asked: Asked, context: int, usd: float) -> bool:
        fits = self._output_within(asked, context, usd)
        return fits >= min(asked.max_tokens, LEAST_OUTPUT) and fits > 0 and asked.within(fits) is not None

    def _worst(self, asked: Asked, context: int, max_tokens: int) -> float:
        one = self._prices.worst_case_cost(asked.model, context, max_tokens, utc_now(), one_hour=asked.one_hour)
        return one * asked.passes

    def _output_within(self, asked: Asked, context: int, usd: float) -> int:
        return self._prices.max_tokens_within(
            asked.model, context, usd / asked.passes, asked.max_tokens, utc_now(), one_hour=asked.one_hour
        )

    def _most(self, asked: Asked, context: int, max_tokens: int, cost: float) -> UsageEntry:
        written = {"ephemeral_1h_input_tokens": context} if asked.one_hour else {}
        usage = {"cache_creation_input_tokens": context, "cache_creation": written, "output_tokens": max_tokens}
        entry = self._prices.price_message(asked.model, usage, utc_now(), estimated=True)
        return entry.model_copy(update={"cost_usd": cost})

    def _too_dear(self, asked: Asked, context: int, room: Room) -> Refused:
        least = min(asked.max_tokens, LEAST_OUTPUT)
        needed = self._worst(asked, context, least)
        purse, left = room.purse_when_others_end, max(0.0, room.usd_when_others_end)
        return Refused(
            402,
            f"{_OWNERS[purse]} has {left:.4f} USD left, and this call needs up to {needed:.4f} USD: "
            f"about {context:,} tokens of input, {least:,} of output",
            Refusal.BUDGET,
            purse=purse,
        )
