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

_AMPLE_OUTPUT = 16_384
"""Tokens of output: where so many fit beside the longest that the input can be, counting it would change little."""

_WAIT_SECONDS = 120.0
"""Well below the silence after which a monitor looks into an agent (monitors.silence_seconds)."""
_RETRY_SECONDS = 5.0

_COUNT_SLACK = 1.01
_COUNT_EXTRA = 64
_BYTES_PER_TOKEN = 2
"""For input that the API did not count: prose has twice that, digits and symbols come near it."""

_GUESS_EXTRA = 2_000

_OWNERS = {Purse.TASK: "this task's budget", Purse.PLAN: "this plan's budget", Purse.DAY: "today's budget of all plans"}

Counting = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True)
class Size:
    """How many tokens of input a call has."""

    most: int
    likely: int
    dear: int  # rather too many, where the API did not count
    output: int  # as it was asked for: `max_tokens`
    cost: float  # US dollars: the most that the call as it was asked for can cost


@dataclass(frozen=True)
class Grant:
    """A call for which there is money. It does not hold the request's body, which is large and soon sent."""

    call: Call
    max_tokens: int  # that it may have
    is_clamped: bool
    tokens: int  # of input, about: as counted, else estimated
    input_at_most: int  # tokens, as good as certainly
    waited_seconds: float


class Budgets:
    """Reserves money for calls."""

    def __init__(self, books: Books, prices: PriceList, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._books = books
        self._prices = prices
        self._wait_seconds = wait_seconds

    async def grant(self, token: AttemptToken, asked: Asked, count: Counting) -> tuple[Grant, Asked]:
        """Reserve what a call can cost at the most; the grant, and the call with the `max_tokens` that it may have.

        `count` asks the API for its input; it is called where needed.
        """
        began = time.monotonic()
        end = began + self._wait_seconds
        try:
            size = await self._size(token, asked, count)
        except UnknownPrice as error:
            raise Refused(400, str(error), Refusal.PRICE) from error
        while True:
            room = self._books.room(token, utc_now().date())
            affordable = self._affordable(asked, size, room, may_wait=time.monotonic() < end)
            if affordable is not None:
                call = await self._books.reserve(token, self._most(affordable, size))
                if call is not None:
                    clamped, waited = affordable is not asked, time.monotonic() - began
                    return Grant(call, affordable.max_tokens, clamped, size.likely, size.dear, waited), affordable
            elif not self._fits_within(asked, size, room.usd_when_others_end):
                raise self._too_dear(asked, size, room)
            left = end - time.monotonic()
            if left <= 0:
                text = f"other calls hold {_OWNERS[room.purse]}: try again later"
                raise Refused(529, text, Refusal.LIMIT, retry_after=_RETRY_SECONDS)
            await self._books.changed(left)

    async def _size(self, token: AttemptToken, asked: Asked, count: Counting) -> Size:
        """How long its input is. The API is asked where its bytes bound it too loosely, or not at all."""
        dear = len(asked.data) // _BYTES_PER_TOKEN
        size = self._sized(asked, asked.bound, estimate_tokens(asked.data), dear)
        room = self._books.room(token, utc_now().date())
        ample = min(asked.max_tokens, _AMPLE_OUTPUT)
        if not asked.must_count and (size.cost <= room.usd or self._output_within(asked, size, room.usd) >= ample):
            return size
        counted = await count()
        if counted is not None:
            exact = math.ceil(counted * _COUNT_SLACK) + _COUNT_EXTRA
            return self._sized(asked, exact if asked.must_count else min(asked.bound, exact), counted, counted)
        if asked.must_count:
            text = "messages: the API cannot be asked how long a document is, so its cost has no bound; try again later"
            raise Refused(529, text, Refusal.LIMIT, retry_after=_RETRY_SECONDS)
        beside = asked.bound - len(asked.data)
        return self._sized(asked, min(asked.bound, dear + beside + _GUESS_EXTRA), size.likely, dear)

    def _sized(self, asked: Asked, most: int, likely: int, dear: int) -> Size:
        return Size(most, likely, dear, asked.max_tokens, self._worst(asked, most, asked.max_tokens))

    def _affordable(self, asked: Asked, size: Size, room: Room, *, may_wait: bool) -> Asked | None:
        """The call with the output that there is money for; None where that is too little, or more comes by waiting."""
        if size.cost <= room.usd:
            return asked
        fits = self._output_within(asked, size, room.usd)
        later = self._output_within(asked, size, room.usd_when_others_end)
        least = min(asked.max_tokens, _WORTH_WAITING_FOR if later > fits and may_wait else LEAST_OUTPUT)
        return asked.within(fits) if fits >= least else None

    def _fits_within(self, asked: Asked, size: Size, usd: float) -> bool:
        fits = self._output_within(asked, size, usd)
        return fits >= min(asked.max_tokens, LEAST_OUTPUT) and asked.within(fits) is not None

    def _worst(self, asked: Asked, context: int, max_tokens: int) -> float:
        one = self._prices.worst_case_cost(asked.model, context, max_tokens, utc_now(), one_hour=asked.one_hour)
        return one * asked.passes

    def _most(self, asked: Asked, size: Size) -> UsageEntry:
        """The entry that is reserved."""
        cost = size.cost if asked.max_tokens == size.output else self._worst(asked, size.most, asked.max_tokens)
        return self._prices.worst_case_entry(
            asked.model, size.most, asked.max_tokens, utc_now(), cost_usd=cost, one_hour=asked.one_hour
        )

    def _output_within(self, asked: Asked, size: Size, usd: float) -> int:
        return self._prices.max_tokens_within(
            asked.model, size.most, usd / asked.passes, asked.max_tokens, utc_now(), one_hour=asked.one_hour
        )

    def _too_dear(self, asked: Asked, size: Size, room: Room) -> Refused:
        least = min(asked.max_tokens, LEAST_OUTPUT)
        needed = self._worst(asked, size.most, least)
        purse, left = room.purse_when_others_end, max(0.0, room.usd_when_others_end)
        return Refused(
            402,
            f"{_OWNERS[purse]} has {left:.4f} USD left, and this call needs up to {needed:.4f} USD: "
            f"about {size.most:,} tokens of input, {least:,} of output",
            Refusal.BUDGET,
            purse=purse,
        )
