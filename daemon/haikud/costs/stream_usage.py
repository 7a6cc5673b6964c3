"""What an answer has cost so far, read from the events of its stream.

Promises: the final counts are the API's own. Where they never came, because the stream was cut, the output is estimated
from what was seen, and `is_estimated` says so. Whoever pays for a call counts with this: agent and gateway alike.
Fails with KeyError, TypeError, AttributeError or ValueError on an event that is no event of the API; what was told
before stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_BYTES_PER_TOKEN = 3
"""For output whose count never came: few enough to err on the dear side."""

_CONTENT = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class StreamUsage:
    """The usage of one answer. `add` takes its events, each as a dictionary, in their order."""

    def __init__(self) -> None:
        self._usage: dict[str, Any] | None = None
        self._counted = False  # whether the final count of the output came
        self._stopped = False  # whether a stop reason came
        self.received = 0
        """Bytes of content that have come."""

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one event in; those that say nothing of usage change nothing."""
        kind = event["type"]
        if kind == "content_block_delta":
            self._add_delta(event["delta"])
        elif kind == "message_start":
            self._usage = dict(event["message"]["usage"])
        elif kind == "message_delta":
            self._stopped = self._stopped or event["delta"].get("stop_reason") is not None
            self._count(event.get("usage") or {})

    @property
    def usage(self) -> dict[str, Any] | None:
        """Usage as far as it was told, with the output estimated where its count never came; None: nothing to pay."""
        if self._usage is None or self._counted:
            return self._usage
        seen = math.ceil(self.received / _BYTES_PER_TOKEN)
        return {**self._usage, "output_tokens": max(seen, int(self._usage.get("output_tokens") or 0))}

    @property
    def is_estimated(self) -> bool:
        """Whether `usage` is partly a guess."""
        return not self._counted

    @property
    def is_final(self) -> bool:
        """Whether all that the answer costs was told: nothing that may still come changes it."""
        return self._counted and self._stopped

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        field = _CONTENT.get(delta["type"])
        if field is not None:
            self.received += len(delta[field].encode("utf-8", "replace"))

    def _count(self, usage: Mapping[str, Any]) -> None:
        """Counts of a message_delta are totals so far: they replace, where they are there at all."""
        if self._usage is None:
            msg = "the stream ends a message that never began"
            raise ValueError(msg)
        self._usage.update({name: value for name, value in usage.items() if value is not None})
        self._counted = "output_tokens" in usage
