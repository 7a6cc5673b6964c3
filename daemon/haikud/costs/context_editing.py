"""What the Messages API's own context editing leaves of a request: old tool results cleared before the model sees them.

Modelled on the API's description of `clear_tool_uses_20250919` (beta `context-management-2025-06-27`). The API keeps no
state: the whole history is sent with each request and edited again each time, from the oldest tool use on, all but the
`keep` newest. So a request's price and its cache follow from what is left here, not from what was sent. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BETA = "context-management-2025-06-27"
CLEAR_TOOL_USES = "clear_tool_uses_20250919"
PLACEHOLDER = "[cleared to save context]"
"""The API's own words are not documented; these are about as long."""

_DEFAULT_TRIGGER = {"type": "input_tokens", "value": 100_000}
_DEFAULT_KEEP = 3

Block = dict[str, Any]
Count = Callable[[dict[str, Any]], int]


@dataclass(frozen=True)
class Edited:
    """A request as the model sees it, and what the API says that it did to it."""

    body: dict[str, Any]
    applied: list[dict[str, Any]]


def as_seen(body: dict[str, Any], count: Count) -> Edited:
    """The request after its `context_management`, which is left out; `count` tells the tokens of a request."""
    edits = (body.get("context_management") or {}).get("edits") or []
    seen = {name: value for name, value in body.items() if name != "context_management"}
    applied = []
    for edit in edits:
        if isinstance(edit, dict) and edit.get("type") == CLEAR_TOOL_USES:
            changed, cleared = _clear(seen, edit, count)
            saved = count(seen) - count(changed)
            if cleared and saved >= _value(edit.get("clear_at_least"), 0):
                applied.append({"type": CLEAR_TOOL_USES, "cleared_tool_uses": cleared, "cleared_input_tokens": saved})
                seen = changed
    return Edited(seen, applied)


def _clear(body: dict[str, Any], edit: Mapping[str, Any], count: Count) -> tuple[dict[str, Any], int]:
    uses = [block for block in _blocks(body) if block.get("type") == "tool_use"]
    trigger = edit.get("trigger") or _DEFAULT_TRIGGER
    reached = len(uses) if trigger.get("type") == "tool_uses" else count(body)
    if reached <= _value(trigger, 0):
        return body, 0
    spared = set(edit.get("exclude_tools") or ())
    keep = _value(edit.get("keep"), _DEFAULT_KEEP)
    old = [use for use in (uses[:-keep] if keep else uses) if use.get("name") not in spared]
    inputs = edit.get("clear_tool_inputs") or False
    results_of = {str(use.get("id")) for use in old}
    inputs_of = {str(use.get("id")) for use in old if inputs is True or (inputs and use.get("name") in inputs)}
    messages = [
        {**message, "content": [_cleared(block, results_of, inputs_of) for block in _content(message)]}
        for message in body.get("messages") or []
    ]
    return {**body, "messages": messages}, len(old)


def _cleared(block: Block, results_of: set[str], inputs_of: set[str]) -> Block:
    if block.get("type") == "tool_result" and block.get("tool_use_id") in results_of:
        return {**block, "content": [{"type": "text", "text": PLACEHOLDER}]}
    if block.get("type") == "tool_use" and block.get("id") in inputs_of:
        return {**block, "input": {}}
    return block


def _blocks(body: Mapping[str, Any]) -> list[Block]:
    return [block for message in body.get("messages") or [] for block in _content(message)]


def _content(message: Mapping[str, Any]) -> list[Block]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _value(setting: Any, otherwise: int) -> int:
    return int(setting["value"]) if isinstance(setting, Mapping) and "value" in setting else otherwise
