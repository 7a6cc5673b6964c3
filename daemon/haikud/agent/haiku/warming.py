"""One call made and read by the real client, so that what is made at first use is made before a fork.

The libraries import a third of themselves with the first client and its first call, and build the validators of their
models when the first answer of a kind arrives: a third of a second and some twenty megabytes, which runners then share.
The call goes over a socket of ours to an answer of ours, in one process, on one loop. Nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from functools import cache
from typing import Any

from haikud.agent.haiku.client import MessagesClient
from haikud.agent.haiku.conversation import CACHE_MARK
from haikud.agent.haiku.faults import CALL_FAULTS
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.tools.registry import BASH, EDITOR
from haikud.agent.haiku.tools.report import ESCALATE, REPORT_PROGRESS
from haikud.contracts.settings import ApiSettings

_EVENTS: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_warming",
            "type": "message",
            "role": "assistant",
            "model": "none",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "warm"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_warming", "name": "bash", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
)


_SECONDS = 10.0

_CALLS = 8
"""A function is adapted when it has been called so often."""


@cache
def warm_up() -> None:
    """Make one call, the first time. Leaves no thread, loop, connection or socket behind.

    Best effort: what a machine that refuses it leaves undone is done with the first call.
    """
    with suppress(*CALL_FAULTS), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the kernel picks a name that no file has
        asyncio.run(_call_once(listener))


def practise() -> None:
    """For a process that forks: call until the interpreter has adapted its code, or each child would write to that."""
    for _ in range(_CALLS):
        warm_up.__wrapped__()
    warm_up()


async def _call_once(listener: socket.socket) -> None:
    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _EVENTS)
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: none\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(lines)}\r\n\r\n{lines}".encode())
        await writer.drain()
        await answered.wait()
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=listener)
    async with asyncio.timeout(_SECONDS), server:
        client = MessagesClient(ApiSettings(), "none", "\0" + listener.getsockname()[1:].decode())
        try:
            await client.stream(_request(), Incoming())
        finally:
            answered.set()
            await client.close()


def _request() -> dict[str, Any]:
    text = [{"type": "text", "text": "warm", "cache_control": CACHE_MARK}]
    asked = {"role": "user", "content": text}
    tools = [BASH, EDITOR, REPORT_PROGRESS, ESCALATE]
    return {"model": "none", "max_tokens": 1, "system": text, "tools": tools, "messages": [asked]}
