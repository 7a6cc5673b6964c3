"""What the API refuses before a model sees it: errors in its own shape, and the checks of a request's essentials.

The rules and their wording follow the Messages API; only those that a client of ours could break are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from haikud.contracts.api_errors import ERROR_TYPES
from haikud.costs.context_editing import BETA
from haikud.costs.model_facts import window_tokens
from haikud.offline.tokens import content_blocks, count_tokens, prompt_blocks

MESSAGES = {
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the API.",
    429: "This request would exceed your rate limit.",
    500: "Internal server error",
    529: "Overloaded",
}
MOST_BREAKPOINTS = 4
SETTLED_SAMPLING = ("temperature", "top_p", "top_k")  # refused by the 5.5 models


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """A request that gets an error for an answer."""

    def __init__(
        self, status: int, message: str, *, error_type: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type or ERROR_TYPES.get(status, "api_error")
        self.headers = headers or {}


def error_body(error_type: str, message: str, request_id: str) -> dict[str, Any]:
    """The API's error object."""
    return {"type": "error", "error": {"type": error_type, "message": message}, "request_id": request_id}


def thinking_signature(thinking: str) -> str:
    """The signature of a thinking block: of our own making, but one that a changed text does not carry."""
    return "scripted-" + hashlib.sha256(thinking.encode()).hexdigest()[:32]


def check_credentials(headers: dict[str, str]) -> None:
    """Either header will do, with any value; `headers` has lower-case names."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not headers.get("x-api-key") and not (scheme.lower() == "bearer" and token.strip()):
        raise Refused(401, "x-api-key header is required")
    if not headers.get("anthropic-version"):
        raise Refused(400, "anthropic-version: header is required")


def check_context_editing(body: dict[str, Any], headers: dict[str, str]) -> None:
    """Without its beta header the API knows no `context_management`."""
    if "context_management" in body and BETA not in headers.get("anthropic-beta", ""):
        raise Refused(400, "context_management: Extra inputs are not permitted")


def check_window(body: dict[str, Any]) -> None:
    """What the model sees must fit its context."""
    tokens, most = count_tokens(body), window_tokens(str(body["model"]))
    if tokens > most:
        raise Refused(400, f"prompt is too long: {tokens} tokens > {most} maximum")


def check_request(body: object, *, counting: bool = False) -> dict[str, Any]:
    """The body, if it is a sound request; Refused(400) names the first fault. `counting`: for count_tokens."""
    if not isinstance(body, dict):
        raise Refused(400, "The request body is not valid JSON: expected an object")
    for fault in _faults(body, counting=counting):
        raise Refused(400, fault)
    return body


def _faults(body: dict[str, Any], *, counting: bool) -> Iterator[str]:
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: Field required"
    if not counting:
        most = body.get("max_tokens")
        if most is None:
            yield "max_tokens: Field required"
        elif not isinstance(most, int) or isinstance(most, bool) or most < 1:
            yield "max_tokens: Input should be greater than or equal to 1"
    yield from _faults_of_messages(body.get("messages"))
    yield from _faults_of_tools(body.get("tools"))
    yield from _faults_of_cache_marks(body)
    if "-5-5" in str(body.get("model")):
        yield from _faults_of_settings(body)


def _faults_of_messages(messages: object) -> Iterator[str]:
    if messages is None:
        yield "messages: Field required"
        return
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant", "system"}:
            yield f"messages.{index}.role: Input should be 'user' or 'assistant'"
            return
        if not content_blocks(message.get("content")) and message["role"] != "system":  # which Claude Code sends empty
            yield f"messages.{index}: all messages must have non-empty content"
            return
        yield from _faults_of_blocks(index, content_blocks(message["content"]))
    if messages[0]["role"] != "user":
        yield 'messages: first message must use the "user" role'
    if messages[-1]["role"] == "assistant":
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
    yield from _faults_of_tool_results(messages)


def _faults_of_blocks(index: int, blocks: list[dict[str, Any]]) -> Iterator[str]:
    for number, block in enumerate(blocks):
        where = f"messages.{index}.content.{number}"
        if block.get("type") == "text" and not str(block.get("text", "")).strip():
            yield f"{where}: text content blocks must contain non-whitespace text"
        if block.get("type") == "thinking":
            thinking = str(block.get("thinking", ""))
            if block.get("signature") != thinking_signature(thinking):
                yield f"{where}: Invalid `signature` in `thinking` block"


def _faults_of_tool_results(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Every tool_use is answered in the very next message, every tool_result answers one of the message before."""
    seen: set[str] = set()
    asked: dict[str, int] = {}  # open calls of the message before, and where
    for index, message in enumerate(_merged(messages)):
        blocks = content_blocks(message["content"])
        results = [str(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
        for tool_use_id in results:
            if tool_use_id not in asked:
                yield (
                    f"messages.{index}.content: unexpected `tool_use_id` found in `tool_result` blocks: {tool_use_id}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        if len(results) != len(set(results)):
            yield f"messages.{index}.content: each tool_use must have a single result"
        if missing := [tool_use_id for tool_use_id in asked if tool_use_id not in results]:
            yield (
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        asked = {str(b.get("id")): index for b in blocks if b.get("type") == "tool_use"}
        if twice := seen & set(asked):
            yield f"messages.{index}.content: `tool_use` ids must be unique: {', '.join(sorted(twice))}"
        seen |= set(asked)


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of one role taken together, as the API does."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        blocks = content_blocks(message.get("content"))
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1]["content"] = [*merged[-1]["content"], *blocks]
        else:
            merged.append({"role": message["role"], "content": blocks})
    return merged


def _faults_of_tools(tools: object) -> Iterator[str]:
    if tools is None:
        return
    if not isinstance(tools, list):
        yield "tools: Input should be a valid list"
        return
    names = [str(tool.get("name")) for tool in tools if isinstance(tool, dict)]
    if len(names) != len(set(names)):
        yield "tools: Tool names must be unique."
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not tool.get("name"):
            yield f"tools.{index}.name: Field required"
        elif tool.get("type") in {None, "custom"} and not isinstance(tool.get("input_schema"), dict):
            yield f"tools.{index}.custom.input_schema: Field required"


def _faults_of_cache_marks(body: dict[str, Any]) -> Iterator[str]:
    marks = [block.breakpoint for block in prompt_blocks(body) if block.breakpoint]
    if len(marks) > MOST_BREAKPOINTS:
        yield f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
    if "5m" in marks and "1h" in marks[marks.index("5m") :]:
        yield "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."


def _faults_of_settings(body: dict[str, Any]) -> Iterator[str]:
    for name in SETTLED_SAMPLING:
        if body.get(name) is not None:
            yield f"{name}: this model does not accept sampling parameters"
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and "budget_tokens" in thinking:
        yield "thinking.budget_tokens: this model thinks adaptively; use `effort` instead"
