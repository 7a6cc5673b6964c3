"""How an answer reaches the client: as one JSON body or as a stream of events, whole or with a fault.

A fault does on the wire what a failing network or API does there; nothing is simulated inside the client.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from haikud.contracts.api_errors import ERROR_TYPES
from haikud.offline.answer import Answer, Event
from haikud.offline.journal import Exchange
from haikud.offline.refusals import MESSAGES, error_body
from haikud.offline.scenario import (
    CorruptFault,
    CutFault,
    ErrorEventFault,
    Fault,
    StallFault,
    StatusFault,
    StreamFault,
    TruncateFault,
)

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class Delivery:
    """The delivery of one answer. `closing` is set when the server stops, and ends every silence."""

    def __init__(self, request: web.Request, exchange: Exchange, closing: asyncio.Event) -> None:
        self._request = request
        self.exchange = exchange
        self._closing = closing
        # An answer of this server must never pass for the real API's.
        self._marks = {"request-id": exchange.request_id, "x-haikud-scripted": "true"}

    async def silence(self, seconds: float) -> None:
        """Say nothing for so long, unless the server stops."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._closing.wait()
            except TimeoutError:
                return

    def good(self, body: dict[str, Any]) -> web.Response:
        """A whole answer as JSON."""
        self.exchange.status, self.exchange.answer, self.exchange.complete = 200, body, True
        return web.json_response(body, headers=self._marks)

    def error(self, status: int, error_type: str, message: str, headers: dict[str, str]) -> web.Response:
        """An error in the API's shape."""
        body = error_body(error_type, message, self.exchange.request_id)
        self.exchange.status, self.exchange.answer, self.exchange.complete = status, body, True
        return web.json_response(body, status=status, headers={**self._marks, **headers})

    def status_fault(self, fault: StatusFault) -> web.Response:
        """The HTTP error of a fault."""
        error_type = fault.type or ERROR_TYPES.get(fault.status, "api_error")
        message = fault.message or MESSAGES.get(fault.status, f"scripted fault {fault.status}")
        headers = dict(fault.headers)
        if fault.retry_after is not None:
            headers["retry-after"] = f"{fault.retry_after:g}"
        return self.error(fault.status, error_type, message, headers)

    async def whole(self, answer: Answer, fault: Fault | None) -> web.StreamResponse:
        """One JSON body. Of the stream faults, a cut aborts and a stall is silent first; the others have no place."""
        self.exchange.usage = answer.as_message()["usage"]
        if isinstance(fault, CutFault):
            return self._abort(web.Response())
        if isinstance(fault, StallFault):
            await self.silence(fault.seconds)
        return self.good(answer.as_message())

    async def stream(self, answer: Answer, fault: Fault | None) -> web.StreamResponse:
        """A stream of events, with the fault where it belongs."""
        message = answer.as_message()
        self.exchange.status, self.exchange.answer, self.exchange.usage = 200, message, message["usage"]
        response = web.StreamResponse(headers={**self._marks, **STREAM_HEADERS})
        if isinstance(fault, CutFault) and fault.after_events == 0:
            return self._abort(response)
        try:
            await response.prepare(self._request)
            if await self._send(response, answer.events(), fault):
                await response.write_eof()
        except ConnectionError:
            self.exchange.complete = False  # the client has gone
        return response

    async def _send(self, response: web.StreamResponse, events: list[Event], fault: Fault | None) -> bool:
        """Send what there is to send; False where the connection was aborted."""
        place = fault.after_events if isinstance(fault, StreamFault) else None
        if isinstance(fault, TruncateFault):
            events = events[: min(fault.after_events, len(events) - 2)]
            place = None
        elif place is not None:
            place = min(place, len(events) - 1)  # an answer shorter than that still gets its fault
        for index, event in enumerate(events):
            if index == place and await self._strike(response, fault):
                return not isinstance(fault, CutFault)
            await response.write(_encode(*event))
            self.exchange.events_sent += 1
        self.exchange.complete = not isinstance(fault, TruncateFault | CorruptFault)
        return True

    async def _strike(self, response: web.StreamResponse, fault: Fault | None) -> bool:
        """Let the fault happen; whether it ends the stream."""
        if isinstance(fault, StallFault):
            await self.silence(fault.seconds)
            return False
        if isinstance(fault, CorruptFault):
            await response.write(b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n')
            return False
        if isinstance(fault, ErrorEventFault):
            body = error_body(fault.type, fault.message, self.exchange.request_id)
            await response.write(_encode("error", body))
            self.exchange.answer = body
            return True
        self._abort(response)
        return True

    def _abort(self, response: web.StreamResponse) -> web.StreamResponse:
        if self._request.transport is not None:
            self._request.transport.abort()
        return response


def _encode(event: str, data: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
