"""An answer of the API on its way to the client, metered as it goes.

Promises: bytes are passed on as they come, unchanged, and are not collected; a slow client slows down the API's
stream instead of filling memory. The call's end is in the books before the client sees the end of the answer. A stream
that breaks at the API breaks for the client too: it never looks whole. Fails with Refused while nothing was passed on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from haikud.contracts.gateway import Refusal
from haikud.gateway.bill import Bill
from haikud.gateway.refusals import Refused
from haikud.gateway.upstream import passed_back

_MOST_WHOLE_BYTES = 64 * 1024 * 1024

_BROKEN = (aiohttp.ClientError, TimeoutError, ConnectionError)


async def relay(
    request: web.Request,
    answer: aiohttp.ClientResponse,
    bill: Bill,
    marks: dict[str, str],
    *,
    patience: float,
) -> web.StreamResponse:
    """Pass a good answer on. `marks`: headers of our own; `patience`: seconds that a client may not read for."""
    headers = passed_back(answer.headers)
    headers.update(marks)
    if answer.content_type == "text/event-stream":
        return await _relay_stream(request, answer, bill, headers, patience)
    return await _relay_whole(answer, bill, headers)


async def _relay_stream(
    request: web.Request, answer: aiohttp.ClientResponse, bill: Bill, headers: CIMultiDict[str], patience: float
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            bill.hear(chunk)
            if bill.is_final:
                bill.settle()
            async with asyncio.timeout(patience):
                await response.write(chunk)
        bill.settle()
        await response.write_eof()
    except asyncio.CancelledError:
        with suppress(Exception):  # what has come until now was sent, and is paid for
            bill.hear(answer.content.read_nowait())
        raise
    except _BROKEN:
        bill.settle()
        if request.transport is not None:
            request.transport.abort()
    return response


async def _relay_whole(answer: aiohttp.ClientResponse, bill: Bill, headers: CIMultiDict[str]) -> web.Response:
    try:
        body = await read_at_most(answer, _MOST_WHOLE_BYTES)
    except TimeoutError as error:
        raise Refused(504, "the API was silent for too long in the middle of its answer", Refusal.STALLED) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise Refused(502, "the API's answer was cut", Refusal.UNREACHABLE) from error
    bill.hear_whole(body)
    bill.settle()
    return web.Response(status=answer.status, body=body, headers=headers)


async def read_at_most(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body. ClientPayloadError where it has more than `most` bytes."""
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > most:
            msg = f"the answer has more than {most} bytes"
            raise aiohttp.ClientPayloadError(msg)
        pieces.append(piece)
    return b"".join(pieces)
