"""What stands in the conversation already is not sent again: a large result that repeats gets a short note instead.

A model that looks at a file twice, or runs a command again that says the same, would pay for the same text in every
later call. Promises: the text that a note speaks of stands in the conversation as it is sent, to the byte (line numbers
aside), and was not cleared; the same call, made once more, is answered in full, so that nothing is ever withheld.
Pure: everything is known from the conversation, in a later attempt too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from haikud.agent.haiku.conversation import Block, Conversation, tool_uses
from haikud.contracts.transcript import LineKind, TranscriptLine

LEAST_BYTES = 1024
"""A note has about 200 itself, and a model reads a short text more easily than where it stands."""

FIRST_MESSAGE = "first message"
"""`same_as` of a text that stands there."""

_NUMBERED = re.compile(r" *\d+\t")
_MOST_SHOWN = 100


@dataclass(frozen=True)
class Repeat:
    """The note to send, and which result it speaks of."""

    note: str
    same_as: str  # a tool use's id, or FIRST_MESSAGE


def find_repeat(conversation: Conversation, use: Block, text: str) -> Repeat | None:
    """The note that says all that this result of `use` says, if the conversation holds its text; else None."""
    if len(text.encode("utf-8", "replace")) < LEAST_BYTES or _was_noted(conversation, use):
        return None
    uses = {one["id"]: one for turn in conversation.turns for one in tool_uses(turn.content)}
    turns_ago = 0
    for line in reversed(conversation.lines):
        if line.kind is LineKind.ASSISTANT:
            turns_ago += 1
        elif line.kind is LineKind.TOOL_RESULT and not line.same_as and _holds(line, text):
            if conversation.is_cleared(line):
                break  # and with it all that is older; the first message never is
            call = _summary(uses.get(line.tool_use_id, {}))
            place = f"the result of {call}, {turns_ago} turns back" if turns_ago > 1 else f"the result of {call} above"
            return Repeat(_note(text, place), line.tool_use_id)
    first = next(iter(conversation.lines), None)
    if first is not None and first.kind is LineKind.USER and any(_holds(first, form) for form in _forms(text)):
        return Repeat(_note(text, "the first message"), FIRST_MESSAGE)
    return None


def _note(text: str, place: str) -> str:
    lines = text.split("\n")
    end = f" Its last line: {lines[-1]}" if lines[-1].startswith("[") else ""  # an exit code and the like
    return f"[Unchanged: the same {len(lines)} lines stand in {place}. Repeat the call to see them again.]{end}"


def _was_noted(conversation: Conversation, use: Block) -> bool:
    """Whether the last time that this very call was made, a note was its answer."""
    same = {
        one["id"]
        for turn in conversation.turns
        for one in tool_uses(turn.content)
        if (one["name"], one["input"]) == (use["name"], use["input"])
    }
    last = next((line for line in reversed(conversation.results) if line.tool_use_id in same), None)
    return last is not None and bool(last.same_as)


def _holds(line: TranscriptLine, text: str) -> bool:
    """Whether these very lines stand in what was said there."""
    blocks = line.content if line.kind is LineKind.USER else [part for one in line.content for part in one["content"]]
    return any(f"\n{text}\n" in f"\n{block['text']}\n" for block in blocks if block["type"] == "text")


def _forms(text: str) -> Iterator[str]:
    """The text, and what it is without line numbers where all its lines have one, as a viewed file's do."""
    yield text
    lines = text.split("\n")
    if all(_NUMBERED.match(line) for line in lines):
        yield "\n".join(_NUMBERED.sub("", line, count=1) for line in lines)


def _summary(use: dict[str, Any]) -> str:
    given = use.get("input") or {}
    said = str(given.get("command", "")) if use.get("name") == "bash" else f"view {given.get('path', '')}"
    line = said.strip().partition("\n")[0]
    return f"`{line[:_MOST_SHOWN]}`" if line else "a call"
