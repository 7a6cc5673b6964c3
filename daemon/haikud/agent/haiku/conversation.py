"""The conversation as the Messages API gets it, rebuilt from the transcript's lines. Pure.

Promises: append-only. A message once sent is sent again byte for byte, but for the cache marks, which are no part of
what is cached. So a conversation that goes on in a later attempt finds its prefix in the cache, and thinking blocks
go back as they came (to the model that wrote them; to another model they mean nothing and are left out).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from haikud.contracts.transcript import LineKind, TranscriptLine

Block = dict[str, Any]
Message = dict[str, Any]

CACHE_MARK = {"type": "ephemeral"}
"""The five-minute cache: turns follow each other within seconds."""

THINKING = frozenset({"thinking", "redacted_thinking"})


@dataclass(frozen=True)
class Clearing:
    """Which tool results the API is asked to clear: the oldest so many, and with `inputs` their calls' inputs too."""

    results: int = 0
    inputs: bool = False


class Conversation:
    """All that was said since the last `fresh` line. Lines are added in the order of the transcript."""

    def __init__(self, lines: Iterable[TranscriptLine] = ()) -> None:
        self._lines: list[TranscriptLine] = []
        self.clearing = self.counted_clearing = Clearing()  # as it is now, and as it was in the last turn's request
        for line in lines:
            self.add(line)

    def add(self, line: TranscriptLine) -> None:
        """Take one more line in."""
        if line.kind is LineKind.FRESH:
            self._lines = []
            self.clearing = self.counted_clearing = Clearing()
        elif line.kind is LineKind.CLEARED:
            self.clearing = Clearing(line.cleared, line.cleared_inputs)
        elif line.kind in {LineKind.USER, LineKind.ASSISTANT, LineKind.TOOL_RESULT}:
            self._lines.append(line)
            if line.kind is LineKind.ASSISTANT:
                self.counted_clearing = self.clearing

    @property
    def _after_last_turn(self) -> int:
        """How many lines stand after the model's last turn; all of them where it had none."""
        later = takewhile(lambda line: line.kind is not LineKind.ASSISTANT, reversed(self._lines))
        return sum(1 for _ in later)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return not self._lines

    def has_said(self, key: str) -> bool:
        """Whether the words of that key stand in the conversation already."""
        return any(line.kind is LineKind.USER and line.key == key for line in self._lines)

    def results_of(self, tool: str) -> list[TranscriptLine]:
        """The recorded results of a tool, the newest first."""
        return [line for line in reversed(self._lines) if line.kind is LineKind.TOOL_RESULT and line.tool == tool]

    @property
    def lines(self) -> Sequence[TranscriptLine]:
        """All that was said, the oldest first."""
        return self._lines

    def is_cleared(self, result: TranscriptLine) -> bool:
        """Whether the API was asked to clear this recorded result."""
        return any(line is result for line in self.results[: self.clearing.results])

    @property
    def turns(self) -> list[TranscriptLine]:
        """The model's turns, the oldest first."""
        return [line for line in self._lines if line.kind is LineKind.ASSISTANT]

    @property
    def results(self) -> list[TranscriptLine]:
        """The recorded results of all tools, the oldest first."""
        return [line for line in self._lines if line.kind is LineKind.TOOL_RESULT]

    @property
    def last_turn(self) -> TranscriptLine | None:
        """The model's last turn."""
        return self._lines[-1 - self._after_last_turn] if self._after_last_turn < len(self._lines) else None

    @property
    def since_last_turn(self) -> list[TranscriptLine]:
        """What the model has not answered yet."""
        return self._lines[len(self._lines) - self._after_last_turn :]

    @property
    def open_tool_uses(self) -> list[Block]:
        """The last turn's tool uses that have no recorded result."""
        turn = self.last_turn
        if turn is None:
            return []
        answered = {line.tool_use_id for line in self.since_last_turn if line.kind is LineKind.TOOL_RESULT}
        return [use for use in tool_uses(turn.content) if use["id"] not in answered]

    @property
    def is_done(self) -> bool:
        """Whether the model has the last word and used no tool in it: its end of turn was never acted on."""
        turn = self.last_turn
        return (
            turn is not None
            and turn.stop_reason == "end_turn"
            and not tool_uses(turn.content)
            and not self.since_last_turn
        )

    @property
    def last_words(self) -> str:
        """The text of the model's last turn that had any."""
        texts = (text_of(line.content) for line in reversed(self._lines) if line.kind is LineKind.ASSISTANT)
        return next((text for text in texts if text), "")

    def messages(self, model: str) -> list[Message]:
        """The messages for a request to `model`, without cache marks."""
        messages: list[Message] = []
        for line in self._lines:
            role = "assistant" if line.kind is LineKind.ASSISTANT else "user"
            blocks = _sendable(line, model)
            if not blocks:
                continue
            if messages and messages[-1]["role"] == role == "user":
                _join(messages[-1]["content"], blocks, results=line.kind is LineKind.TOOL_RESULT)
            else:
                messages.append({"role": role, "content": list(blocks)})
        return messages


def _sendable(line: TranscriptLine, model: str) -> list[Block]:
    """A line's blocks without those that the API takes back from nobody, or not from another model."""
    return [
        block
        for block in line.content
        if not (block["type"] == "text" and not block["text"].strip())
        and not (block["type"] in THINKING and line.model != model)
    ]


def _join(content: list[Block], blocks: list[Block], *, results: bool) -> None:
    """Add blocks to a user message; tool results come before words, as the API wants them."""
    place = len(content)
    while results and place and content[place - 1]["type"] != "tool_result":
        place -= 1
    content[place:place] = blocks


def with_cache_marks(messages: list[Message]) -> list[Message]:
    """A copy with three marks, each on the last block of a user message; the system prompt bears the fourth and last.

    The last message is where this request writes the cache. The one before is where the last request wrote it: marked
    again, it is found however many blocks have come since (a look-up goes back 20 blocks at most from a mark, and a
    turn of 25 parallel calls has 50). The first is the place to read from when all that follows has changed, as it has
    after old tool results were cleared.
    """
    marked = list(messages)
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    for place in {*places[:1], *places[-2:]}:
        *others, last = messages[place]["content"]
        marked[place] = {**messages[place], "content": [*others, {**last, "cache_control": CACHE_MARK}]}
    return marked


def tool_uses(content: Iterable[Mapping[str, Any]]) -> list[Block]:
    """The tool uses among blocks, picked by type, never by position."""
    return [dict(block) for block in content if block["type"] == "tool_use"]


def text_of(content: Iterable[Mapping[str, Any]]) -> str:
    """The text among blocks."""
    return "\n\n".join(block["text"] for block in content if block["type"] == "text" and block["text"].strip()).strip()


def bytes_of(value: Any) -> int:
    """How long something is as JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
