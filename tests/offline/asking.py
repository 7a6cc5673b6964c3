"""Requests as a client makes them, and dialogues of several turns."""

from __future__ import annotations

from typing import Any

import anthropic
from anthropic.types import Message

MODEL = "claude-haiku-5-5"
TOOLS: list[Any] = [
    {"type": "bash_20250124", "name": "bash"},
    {"name": "report_progress", "description": "Say how far you are.", "input_schema": {"type": "object"}},
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def request(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 4000, "messages": list(messages) or [user("Do it.")], **more}


def streamed(client: anthropic.Anthropic, body: dict[str, Any]) -> Message:
    """The whole message of a stream, as the SDK puts it together."""
    with client.messages.stream(**body) as stream:
        return stream.get_final_message()


def carried_on(body: dict[str, Any], message: Message, result: str = "ok") -> dict[str, Any]:
    """The next request of the dialogue: the answer, and a result for each tool call in it."""
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": result}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    said = {"role": "user", "content": results or "Go on."}
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": blocks}, said]}


def whole_input(usage: Any) -> int:
    """Input tokens of every class."""
    return int(usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens)
