"""One answer of the model while it streams in: blocks put together exactly as they were sent, and what they cost.

Promises: blocks go back to the API as they came, fields that this version does not know included. A stream that ends
without a stop reason, or whose pieces do not fit together, raises BrokenStream and is never taken for an answer; what
it has cost until then is still told.
"""

from __future__ import annotations

import json
from typing import Any

from haikud.agent.haiku.conversation import Block
from haikud.costs.stream_usage import StreamUsage

_APPENDED = {"text_delta": "text", "thinking_delta": "thinking"}


class BrokenStream(Exception):  # noqa: N818 -- the name says what is the case
    """The stream ended too early, or its pieces do not fit together."""


class Incoming:
    """An answer in the making. `add` takes the stream's events as dictionaries."""

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.stop_reason: str | None = None
        self.stop_details: Block = {}
        self.applied_edits: list[Block] = []  # what the API says that it cleared of the context
        self._blocks: dict[int, Block] = {}
        self._inputs: dict[int, str] = {}
        self._used = StreamUsage()

    def add(self, event: Block) -> None:
        """Take one event in. BrokenStream where it does not fit."""
        try:
            self._used.add(event)
            self._add(event)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BrokenStream(f"an event of the stream is malformed: {type(error).__name__} {error}") from error

    def finish(self) -> list[Block]:
        """The whole answer's blocks. BrokenStream where the stream ended before its stop reason.

        Where the output limit cut a block, that block is left out: half a tool use must not run, half a thought is
        not taken back.
        """
        if self._used.usage is None:
            raise BrokenStream("the stream ended before it began")
        if self.stop_reason is None:
            raise BrokenStream("the stream ended without a stop reason")
        last = max(self._blocks, default=None)
        content = []
        for index in sorted(self._blocks):
            whole = self._whole(index, may_be_cut=self.stop_reason == "max_tokens" and index == last)
            if whole is not None:
                content.append(_encodable(whole))
        return content

    @property
    def usage(self) -> Block | None:
        """Usage as far as it was told, with the output estimated where its count never came; None: nothing to pay."""
        return self._used.usage

    @property
    def received(self) -> int:
        """How many bytes of content have come."""
        return self._used.received

    @property
    def is_estimated(self) -> bool:
        """Whether `usage` is partly a guess."""
        return self._used.is_estimated

    def _add(self, event: Block) -> None:
        match event["type"]:
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                self._add_delta(event["index"], event["delta"])
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self.stop_details = event["delta"].get("stop_details") or {}
                edits = (event.get("context_management") or {}).get("applied_edits") or []
                self.applied_edits = [dict(edit) for edit in edits]
            case _:  # message_start, content_block_stop, message_stop, ping, and what a newer API may add
                pass

    def _add_delta(self, index: int, delta: Block) -> None:
        block, kind = self._blocks[index], delta["type"]
        if kind in _APPENDED:
            field = _APPENDED[kind]
            block[field] = (block.get(field) or "") + delta[field]
        elif kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        else:
            raise BrokenStream(f"the stream holds a piece of an unknown kind, {kind!r}")

    def _whole(self, index: int, *, may_be_cut: bool) -> Block | None:
        block = self._blocks[index]
        if block["type"] == "thinking" and may_be_cut and not block.get("signature"):
            return None
        if block["type"] != "tool_use":
            return block
        text = self._inputs.get(index, "")
        if may_be_cut and not text:
            return None
        try:
            value: Any = json.loads(text) if text else block.get("input") or {}
        except ValueError as error:
            if may_be_cut:
                return None
            raise BrokenStream(f"the input of the tool {block.get('name')!r} is not whole: {error}") from error
        if not isinstance(value, dict):
            raise BrokenStream(f"the input of the tool {block.get('name')!r} is no object")
        return {**block, "input": value}


def _encodable(block: Block) -> Block:
    """The block, with halves of surrogate pairs replaced: JSON can say them, UTF-8 cannot send them back."""
    text = json.dumps(block, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        replaced: Block = json.loads(text.encode("utf-8", "replace"))
        return replaced
    return block
