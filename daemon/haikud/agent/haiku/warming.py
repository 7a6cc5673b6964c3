"""One answer read by the real client without any network, so that what it makes at first use is made before a fork.

The SDK builds the validators of its models when the first answer of a kind arrives, and asks for the platform once;
that takes a quarter of a second and some megabytes, which runners then share. Nothing of the client itself is kept.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx2

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


def warm_up() -> None:
    """Read one streamed answer. Leaves no thread, loop or connection behind."""
    asyncio.run(_read_one())


async def _read_one() -> None:
    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _EVENTS)
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=lines.encode())
    transport = httpx2.MockTransport(lambda _request: answer)
    http = anthropic.DefaultAsyncHttpxClient(transport=transport, trust_env=False)
    async with anthropic.AsyncAnthropic(
        api_key="none", base_url="http://none", max_retries=0, open_telemetry=False, http_client=http
    ) as client:
        asked = {"role": "user", "content": [{"type": "text", "text": "warm"}]}
        request: dict[str, Any] = {"model": "none", "max_tokens": 1, "messages": [asked], "stream": True}
        async with await client.messages.create(**request) as stream:
            async for event in stream:
                event.to_dict(warnings=False)
