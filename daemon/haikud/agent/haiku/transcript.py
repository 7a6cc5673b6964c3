"""`transcript.jsonl`: every turn durable before its tools run, every tool result as soon as it is there.

What a model call has cost is noted when it has ended, and, where no gateway does that, what it can cost before it is
made: see spool/spending.py.

Promises: what a method here has recorded survives a crash and a power cut, and nothing is done on account of a turn
that is not recorded. Secrets are masked before they enter: what the model is sent is what stands here, so that a
conversation can be taken up as it was. Fails with OSError (the disk), or UnreadableFile where a whole line is broken: a
conversation with a hole in it would not be the one that the model remembers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haikud.agent.haiku.conversation import THINKING, Block, Clearing, Conversation
from haikud.contracts.base import utc_now
from haikud.contracts.masking import active_masker
from haikud.contracts.transcript import LineKind, TranscriptLine
from haikud.contracts.usage import UsageEntry
from haikud.spool.durable import append_durably
from haikud.spool.models import iter_lines, line_as_is


class Transcript:
    """One attempt's hold on the transcript: the conversation so far, and what this attempt adds to it."""

    def __init__(self, path: Path, attempt: int) -> None:
        self._path = path
        self._attempt = attempt
        self._held: list[TranscriptLine] | None = None  # what is to be written together
        lines = list(iter_lines(path, TranscriptLine, strict=True))
        self.conversation = Conversation(lines)
        self._fresh_here = any(line.kind is LineKind.FRESH and line.attempt == attempt for line in lines)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is added here is made durable at the end, at once: for words on account of which nothing is done yet."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                self._write(*map(line_as_is, held))

    def begin(self, model: str, *, fresh: bool) -> None:
        """Note the attempt; with `fresh` start a new conversation, once in an attempt."""
        self._add(TranscriptLine(at=utc_now(), attempt=self._attempt, kind=LineKind.ATTEMPT, model=model))
        if fresh and not self._fresh_here:
            self._add(TranscriptLine(at=utc_now(), attempt=self._attempt, kind=LineKind.FRESH))

    def say(self, text: str, key: str) -> None:
        """Words of ours to the model."""
        content: list[Block] = [{"type": "text", "text": text}]
        self._add(TranscriptLine(at=utc_now(), attempt=self._attempt, kind=LineKind.USER, content=content, key=key))

    def note_call(self, model: str, most: UsageEntry) -> None:
        """A model call begins, which costs `most` at most."""
        self._add(TranscriptLine(at=utc_now(), attempt=self._attempt, kind=LineKind.CALL, model=model, usage=most))

    def note_paid(self, model: str, usage: UsageEntry | None) -> None:
        """That call has ended without a turn; None: for nothing."""
        self._add(TranscriptLine(at=utc_now(), attempt=self._attempt, kind=LineKind.PAID, model=model, usage=usage))

    def record_turn(self, content: list[Block], model: str, stop_reason: str, usage: UsageEntry | None) -> None:
        """A whole turn of the model, or one that it refused."""
        self._add(
            TranscriptLine(
                at=utc_now(),
                attempt=self._attempt,
                kind=LineKind.REFUSED if stop_reason == "refusal" else LineKind.ASSISTANT,
                content=content,
                model=model,
                stop_reason=stop_reason,
                usage=usage,
            )
        )

    def record_result(self, tool_use: Block, text: str, *, is_error: bool, same_as: str = "") -> None:
        """The result of one tool use; `same_as` says where the text of a result stands that is only a note."""
        block: Block = {
            "type": "tool_result",
            "tool_use_id": tool_use["id"],
            "content": [{"type": "text", "text": text}],
            **({"is_error": True} if is_error else {}),
        }
        self._add(
            TranscriptLine(
                at=utc_now(),
                attempt=self._attempt,
                kind=LineKind.TOOL_RESULT,
                content=[block],
                tool_use_id=tool_use["id"],
                tool=tool_use["name"],
                same_as=same_as,
            )
        )

    def note_cleared(self, clearing: Clearing) -> None:
        """From the next call on the API is asked to clear this."""
        self._add(
            TranscriptLine(
                at=utc_now(),
                attempt=self._attempt,
                kind=LineKind.CLEARED,
                cleared=clearing.results,
                cleared_inputs=clearing.inputs,
            )
        )

    def _add(self, line: TranscriptLine) -> None:
        line = line.model_copy(update={"content": masked(line.content)}) if line.content else line
        if self._held is None:
            self._write(line_as_is(line))
        else:
            self._held.append(line)
        self.conversation.add(line)

    def _write(self, *lines: bytes) -> None:
        append_durably(self._path, *lines)


_SPARED = ("type", "id", "tool_use_id", "name")
"""Of a block: what ties it to others."""


def masked(content: list[Block]) -> list[Block]:
    """Blocks without secrets. One of the model's thinking is signed and cannot be changed: it is left out."""
    masker = active_masker()
    blocks: list[Block] = []
    for block in content:
        if block["type"] not in THINKING:
            blocks.append(masker.value(block, _SPARED))
        elif masker.value(block) == block:
            blocks.append(block)
    return blocks
