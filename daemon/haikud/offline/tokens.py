"""How long a prompt is: a request as a row of blocks, each with an estimate of its tokens.

The estimate is one token for every four bytes of a block's canonical JSON, rounded up: no tokenizer, but the same
text always gives the same number, and more text gives a higher one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from haikud.costs.tokens import estimate_tokens

Ttl = Literal["5m", "1h"]


@dataclass(frozen=True)
class PromptBlock:
    """One block of a prompt, in the API's order: tools, system, messages."""

    tokens: int
    prefix: bytes  # digest of everything up to and including this block
    breakpoint: Ttl | None  # a cache_control stands here


def canonical(value: object) -> bytes:
    """JSON bytes without insignificant differences; `cache_control` marks a place and is no content."""
    return json.dumps(_bare(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_blocks(content: object) -> list[dict[str, Any]]:
    """A message's or system prompt's content as a list of blocks; a string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def prompt_blocks(body: dict[str, Any]) -> list[PromptBlock]:
    """All blocks of a request. A top-level `cache_control` marks the last one."""
    blocks: list[PromptBlock] = []
    digest = hashlib.sha256(str(body.get("model")).encode()).digest()
    for place, block in _parts(body):
        data = canonical(block)
        digest = hashlib.sha256(digest + place.encode() + b"\0" + data).digest()
        if place != "settings":
            blocks.append(PromptBlock(estimate_tokens(data), digest, _ttl(block.get("cache_control"))))
    top = _ttl(body.get("cache_control"))
    if top and blocks and blocks[-1].breakpoint is None:
        blocks[-1] = PromptBlock(blocks[-1].tokens, blocks[-1].prefix, top)
    return blocks


def count_tokens(body: dict[str, Any]) -> int:
    """All input tokens of a request."""
    return sum(block.tokens for block in prompt_blocks(body))


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from (("tool", tool) for tool in body.get("tools") or [] if isinstance(tool, dict))
    yield from (("system", block) for block in content_blocks(body.get("system")))
    # As with the real cache, another tool choice or thinking mode leaves tools and system cached, but no message.
    yield "settings", {"tool_choice": body.get("tool_choice"), "thinking": body.get("thinking")}
    for message in body.get("messages") or []:
        for block in content_blocks(message.get("content")):
            yield str(message.get("role")), block


def _ttl(mark: object) -> Ttl | None:
    if not isinstance(mark, dict):
        return None
    return "1h" if mark.get("ttl") == "1h" else "5m"


def _bare(value: object) -> object:
    if isinstance(value, dict):
        return {key: _bare(part) for key, part in value.items() if key != "cache_control"}
    if isinstance(value, list):
        return [_bare(part) for part in value]
    return value
