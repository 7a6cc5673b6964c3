"""An answer of the scripted model: its pieces, its length, and its two forms (one message, or a stream of events).

`max_tokens` is kept as the API keeps it: an answer that is too long breaks off where the limit falls, inside a tool
call's JSON too, and stops with `max_tokens`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from haikud.costs.tokens import BYTES_PER_TOKEN, estimate_tokens
from haikud.offline.prompt_cache import InputUsage
from haikud.offline.refusals import thinking_signature

CHUNK = 32  # characters of a delta, at least
MOST_CHUNKS = 24  # deltas of a block

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Piece:
    """One content block. `body` is the text, the thinking, or the JSON of a tool's input."""

    kind: Literal["text", "thinking", "tool_use"]
    body: str
    id: str = ""
    name: str = ""

    @property
    def tokens(self) -> int:
        """How long it is."""
        return estimate_tokens(self.name) + estimate_tokens(self.body)

    def as_json(self) -> dict[str, Any]:
        """The finished block. A tool call that was cut off has an empty input."""
        if self.kind == "text":
            return {"type": "text", "text": self.body}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": self.body, "signature": thinking_signature(self.body)}
        try:
            given = json.loads(self.body)
        except json.JSONDecodeError:
            given = {}
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": given}

    def opening(self) -> dict[str, Any]:
        """The block as content_block_start shows it."""
        if self.kind == "text":
            return {"type": "text", "text": ""}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """What content_block_delta carries, one after the other."""
        if self.kind == "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
        size = max(CHUNK, -(-len(self.body) // MOST_CHUNKS))
        for start in range(0, len(self.body), size):
            chunk = self.body[start : start + size]
            if self.kind == "text":
                yield {"type": "text_delta", "text": chunk}
            elif self.kind == "thinking":
                yield {"type": "thinking_delta", "thinking": chunk}
            else:
                yield {"type": "input_json_delta", "partial_json": chunk}
        if self.kind == "thinking":
            yield {"type": "signature_delta", "signature": thinking_signature(self.body)}


@dataclass(frozen=True)
class Answer:
    """What the model says to one request."""

    message_id: str
    model: str
    pieces: tuple[Piece, ...]
    stop_reason: str
    usage: InputUsage
    applied_edits: list[dict[str, Any]] | None = None  # of the context; None: no editing was asked for

    @property
    def output_tokens(self) -> int:
        """At least 1, as in the API."""
        return max(1, sum(piece.tokens for piece in self.pieces))

    def within(self, max_tokens: int) -> Answer:
        """This answer, or as much of it as `max_tokens` allows."""
        if self.output_tokens <= max_tokens:
            return self
        left, kept = max_tokens, []
        for piece in self.pieces:
            if piece.tokens > left:
                room = max(0, left - estimate_tokens(piece.name)) * BYTES_PER_TOKEN
                cut = piece.body.encode()[:room].decode(errors="ignore")
                if piece.kind == "tool_use" or cut.strip():
                    kept.append(replace(piece, body=cut))
                break
            kept.append(piece)
            left -= piece.tokens
        return replace(self, pieces=tuple(kept), stop_reason="max_tokens")

    def as_message(self) -> dict[str, Any]:
        """The answer to a request without `stream`."""
        return (
            self._message(
                content=[piece.as_json() for piece in self.pieces],
                stop_reason=self.stop_reason,
                usage=self.usage.as_json(self.output_tokens),
            )
            | self._edits()
        )

    def events(self) -> list[Event]:
        """The answer to a request with `stream`, as (event, data)."""
        opening = self._message(content=[], stop_reason=None, usage=self.usage.as_json(1))
        events: list[Event] = [("message_start", {"type": "message_start", "message": opening})]
        for index, piece in enumerate(self.pieces):
            events.append(
                (
                    "content_block_start",
                    {"type": "content_block_start", "index": index, "content_block": piece.opening()},
                )
            )
            if index == 0:
                events.append(("ping", {"type": "ping"}))
            events.extend(
                ("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
                for delta in piece.deltas()
            )
            events.append(("content_block_stop", {"type": "content_block_stop", "index": index}))
        usage = self.usage.as_json(self.output_tokens)
        del usage["service_tier"], usage["cache_creation"]
        ending = {
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason, "stop_sequence": None},
            "usage": usage,
            **self._edits(),
        }
        return [*events, ("message_delta", ending), ("message_stop", {"type": "message_stop"})]

    def _edits(self) -> dict[str, Any]:
        return {} if self.applied_edits is None else {"context_management": {"applied_edits": self.applied_edits}}

    def _message(
        self, *, content: list[dict[str, Any]], stop_reason: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }
