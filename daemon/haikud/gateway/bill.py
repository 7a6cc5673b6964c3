"""What one call has cost, as far as its answer has told, and its end in the books.

Promises: `settle` ends the call in the books once, whenever it is called: with what the API counted, or, where its
answer was cut, with an estimate from what was seen, marked as one. A call that the API refused, or that never reached
it, costs nothing. Never raises for what the API says.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from haikud.contracts.usage import UsageEntry
from haikud.costs.prices import PriceList
from haikud.costs.stream_usage import StreamUsage
from haikud.gateway.books import Books
from haikud.gateway.budget import Grant
from haikud.gateway.sse import EventReader

_FIRST_OUTPUT = 256
_OUTPUT_A_SECOND = 400
"""Tokens: faster than models write."""

_MALFORMED = (KeyError, TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RecursionError)


class Bill:
    """The bill of one granted call."""

    def __init__(self, books: Books, prices: PriceList, grant: Grant, on_end: Callable[[], None]) -> None:
        self._books = books
        self._prices = prices
        self._grant = grant
        self._on_end = on_end
        self._reader = EventReader()
        self._streamed = StreamUsage()
        self._whole: Mapping[str, Any] | None = None
        self._unseen_since: float | None = None  # since when (monotonic) it thinks without showing it
        self._idle_since = 0.0  # when the message began, or the last of its blocks ended
        self._received = 0  # bytes of content, before the block that is open
        self._unseen = 0  # tokens that it may have thought so
        self._is_over = False
        self.request_id: str | None = None
        self.reached_api_at: float | None = None
        """Since when (monotonic) the API may be at work on it: then it costs at least its input. None: it is not."""

    @property
    def is_final(self) -> bool:
        """Whether all that it costs was told."""
        return self._streamed.is_final

    def hear(self, chunk: bytes) -> None:
        """A piece of a streamed answer."""
        for event in self._reader.feed(chunk):
            try:
                self._streamed.add(event)
            except _MALFORMED:
                continue
            self._watch_thinking(event)
            if event["type"] == "error" and self._streamed.usage is None:
                self.reached_api_at = None  # refused before a message began

    def hear_whole(self, body: bytes) -> None:
        """An answer that was not streamed."""
        try:
            usage = json.loads(body)["usage"]
        except _MALFORMED:
            usage = None
        self._whole = usage if isinstance(usage, dict) else None

    def settle(self) -> None:
        """End the call in the books. Only the first time counts."""
        if self._is_over:
            return
        self._is_over = True
        entry = self._entry()
        if entry is None:
            self._books.release(self._grant.call)
        else:
            self._books.use(self._grant.call, entry)
        self._on_end()

    def _entry(self) -> UsageEntry | None:
        if self._whole is not None:
            return self._price(self._whole, estimated=False)
        usage = self._usage_streamed()
        if usage is not None:
            return self._price(usage, estimated=self._streamed.is_estimated)
        if self.reached_api_at is not None:
            return self._price(self._unheard(self.reached_api_at), estimated=True)
        return None

    def _unheard(self, since: float) -> dict[str, int]:
        """Usage of a call of whose answer nothing was heard: its input, and what can have been written meanwhile.

        Rather too much: whoever hangs up before the answer comes must not get it for less.
        """
        written = _FIRST_OUTPUT + math.ceil((time.monotonic() - since) * _OUTPUT_A_SECOND)
        return {"input_tokens": self._grant.input_at_most, "output_tokens": min(self._grant.max_tokens, written)}

    def _usage_streamed(self) -> Mapping[str, Any] | None:
        try:
            usage = self._streamed.usage
            if usage is None or not self._streamed.is_estimated:
                return usage
            self._end_thinking()
            most = max(self._grant.max_tokens, usage["output_tokens"])
            return {**usage, "output_tokens": min(most, usage["output_tokens"] + self._unseen)}
        except _MALFORMED:
            return None

    def _watch_thinking(self, event: Mapping[str, Any]) -> None:
        """Thinking is paid for where it is not shown, too: whoever hangs up after it must not get it for nothing."""
        kind = event["type"]
        if kind in {"message_start", "content_block_stop"}:
            self._end_thinking()
            self._idle_since = time.monotonic()
            self._unseen_since = self._idle_since if kind == "message_start" else None
        elif kind == "content_block_start":
            block = event.get("content_block")
            thinks = isinstance(block, dict) and block.get("type") in {"thinking", "redacted_thinking"}
            self._unseen_since = self._idle_since if thinks else None  # it may be told of when it is over
            self._received = self._streamed.received

    def _end_thinking(self) -> None:
        if self._unseen_since is not None and self._streamed.received == self._received:
            self._unseen += math.ceil((time.monotonic() - self._unseen_since) * _OUTPUT_A_SECOND)
        self._unseen_since = None

    def _price(self, usage: Mapping[str, Any], *, estimated: bool) -> UsageEntry:
        most = self._grant.call.most
        try:
            return self._prices.price_message(most.model, usage, most.at, self.request_id, estimated=estimated)
        except _MALFORMED:  # counts that are none: what was reserved is the least that is safe to say
            return most
