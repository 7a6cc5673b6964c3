"""The prompt cache: which prefixes have really been seen, and what a request therefore reads and writes.

Modelled on the API's description of prompt caching: entries are written at breakpoints only, a prompt under 512
tokens (4,096 with some models) is not cached, a lookup goes back at most 20 blocks from a breakpoint, an entry lives 5
minutes or an hour from its last use. What is read, written and left over always adds up to the whole input.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from haikud.costs.model_facts import least_cacheable_tokens
from haikud.offline.tokens import PromptBlock, Ttl, prompt_blocks

LOOK_BACK_BLOCKS = 20
LIFETIME_SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True)
class InputUsage:
    """The input side of a usage object: four disjoint classes."""

    fresh: int
    read: int
    written_5m: int
    written_1h: int

    def as_json(self, output_tokens: int) -> dict[str, Any]:
        """The API's usage object."""
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": self.written_5m + self.written_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


class PromptCache:
    """What has been seen. Not for several threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, tuple[Ttl, float]] = {}  # prefix -> lifetime, when it ends

    def use(self, body: dict[str, Any]) -> InputUsage:
        """What an accepted request costs; its own prefixes are remembered."""
        blocks = prompt_blocks(body)
        lengths = list(accumulate(block.tokens for block in blocks))
        total = lengths[-1] if lengths else 0
        least = least_cacheable_tokens(str(body.get("model")))
        marks = [
            index for index, block in enumerate(blocks) if block.breakpoint is not None and lengths[index] >= least
        ]
        hit = self._longest_hit(blocks, marks)
        read = lengths[hit] if hit is not None else 0
        up_to_1h = max((lengths[i] for i in marks if blocks[i].breakpoint == "1h"), default=0)
        written_1h = max(0, up_to_1h - read)
        written_5m = max(0, max((lengths[i] for i in marks), default=0) - read - written_1h)
        self._remember(blocks, marks, hit)
        return InputUsage(total - read - written_1h - written_5m, read, written_5m, written_1h)

    def _longest_hit(self, blocks: list[PromptBlock], marks: list[int]) -> int | None:
        now = self._clock()
        for mark in reversed(marks):
            for index in range(mark, max(-1, mark - LOOK_BACK_BLOCKS - 1), -1):
                entry = self._entries.get(blocks[index].prefix)
                if entry is not None and entry[1] > now:
                    return index
        return None

    def _remember(self, blocks: list[PromptBlock], marks: list[int], hit: int | None) -> None:
        now = self._clock()
        if hit is not None:
            ttl, _ = self._entries[blocks[hit].prefix]
            self._entries[blocks[hit].prefix] = (ttl, now + LIFETIME_SECONDS[ttl])
        for index in marks:
            ttl = blocks[index].breakpoint or "5m"
            self._entries[blocks[index].prefix] = (ttl, now + LIFETIME_SECONDS[ttl])
