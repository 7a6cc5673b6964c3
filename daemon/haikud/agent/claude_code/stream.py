"""Claude Code's `--output-format stream-json`: lines of JSON, what they say to people, and the facts in them.

Pure but for `lines_of`, which reads. Promises: a line is at most LONGEST_LINE bytes, what is longer or no JSON object
is said and skipped; unknown kinds of messages and fields of another type than expected are passed over, for they change
with every version of Claude Code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

LONGEST_LINE = 8 * 1_048_576
"""Bytes: a tool's result with a picture has megabytes; what a model says has not."""

MOST_RESULT_LINES = 6
LONGEST_SHOWN = 500
"""Of a tool's result, in the log: Claude Code's own session has all of it."""

MOST_MALFORMED_SAID = 5

_PROGRESS = re.compile(r"^[^\w\n]*PROGRESS (\d{1,3}) *%? *: *(.*)$", re.MULTILINE)
_DETAILS = ("command", "file_path", "pattern", "path", "url", "description", "query", "prompt")
"""The fields of a tool's input that tell most, the first one there counts."""


def lines_of(chunks: Iterator[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes | None]:
    """The lines in a stream of bytes; None for one that was too long."""
    partial, skipping = b"", False
    for chunk in chunks:
        *lines, partial = (partial + chunk).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > longest else line
            skipping = False
        if len(partial) > longest:
            partial, skipping = b"", True
    if partial or skipping:
        yield None if skipping or len(partial) > longest else partial


@dataclass
class Said:
    """All that counts of what Claude Code said in one run."""

    version: str = ""
    session_id: str = ""
    model: str = ""
    answered: bool = False  # the model has spoken: what it was told is in the session
    result: dict[str, Any] | None = None
    denied: list[str] = field(default_factory=list)
    retries: int = 0
    last_text: str = ""
    malformed: int = 0


class Follower:
    """Takes the lines one by one. `say` gets lines for people, `event` a percent (or None) and a message."""

    def __init__(self, say: Callable[[str], None], event: Callable[[int | None, str], None]) -> None:
        self.said = Said()
        self._say = say
        self._event = event

    def take(self, line: bytes | None) -> None:
        """One line; None for one that was too long."""
        if line is not None and not line.strip():
            return
        message = _object(line)
        if message is None:
            self._malformed(line)
            return
        kind = message.get("type")
        if kind == "result":
            self.said.result = message
            self.said.session_id = _text(message.get("session_id")) or self.said.session_id
        elif kind == "system":
            self._notice(message)
        elif kind == "assistant":
            self._answer(_content(message), _text(_inner(message).get("model")))
        elif kind == "user":
            for block in _content(message):
                if block.get("type") == "tool_result":
                    self._tool_result(block)

    def _malformed(self, line: bytes | None) -> None:
        self.said.malformed += 1
        if self.said.malformed <= MOST_MALFORMED_SAID:
            what = "a line that is too long" if line is None else line[:200].decode("utf-8", "replace")
            self._say(f"skipped, no message of Claude Code's: {what}")

    def _notice(self, message: dict[str, Any]) -> None:
        subtype = message.get("subtype")
        if subtype == "init":
            self._begin(message)
        elif subtype == "api_retry":
            self._retry(message)
        elif subtype == "permission_denied":
            name = _text(message.get("tool_name")) or "a tool"
            self.said.denied.append(name)
            self._say(f"denied: {name}")

    def _begin(self, message: dict[str, Any]) -> None:
        self.said.version = _text(message.get("claude_code_version"))
        self.said.session_id = _text(message.get("session_id"))
        self.said.model = _text(message.get("model"))
        self._say(f"Claude Code {self.said.version}, {self.said.model}, session {self.said.session_id}")

    def _retry(self, message: dict[str, Any]) -> None:
        self.said.retries += 1
        seconds = number(message.get("retry_delay_ms")) / 1000
        why = _text(message.get("error")) or "unknown"
        status = message.get("error_status")
        which = f"{why} ({status})" if isinstance(status, int) else why
        text = f"waits {seconds:.1f} s to ask the API again: {which}"
        self._say(text)
        self._event(None, text)

    def _answer(self, blocks: list[dict[str, Any]], model: str) -> None:
        self.said.answered = self.said.answered or model != "<synthetic>"  # which is what Claude Code says of errors
        for block in blocks:
            if block.get("type") == "text":
                self._words(_text(block.get("text")))
            elif block.get("type") == "tool_use":
                shown = describe_tool(block)
                self._say(shown)
                self._event(None, shown)

    def _words(self, text: str) -> None:
        if not text.strip():
            return
        self.said.last_text = text
        self._say(text)
        for match in _PROGRESS.finditer(text):
            self._event(min(100, int(match[1])), match[2].strip(" *"))

    def _tool_result(self, block: dict[str, Any]) -> None:
        lines = [line for line in _result_text(block.get("content")).splitlines() if line.strip()]
        mark = "! " if block.get("is_error") else "> "
        for line in lines[:MOST_RESULT_LINES]:
            self._say(mark + line[:LONGEST_SHOWN])
        if len(lines) > MOST_RESULT_LINES:
            self._say(f"{mark}... {len(lines) - MOST_RESULT_LINES} more lines")


def describe_tool(block: dict[str, Any]) -> str:
    """A tool use in one line."""
    name, given = _text(block.get("name")) or "a tool", block.get("input")
    told = given if isinstance(given, dict) else {}
    detail = next((_text(told.get(key)) for key in _DETAILS if _text(told.get(key))), "")
    words = " ".join(detail.split())
    return f"{name}: {words[:LONGEST_SHOWN]}" if words else name


def number(value: object) -> float:
    """A number, 0 for everything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _object(line: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _inner(message: dict[str, Any]) -> dict[str, Any]:
    inner = message.get("message")
    return inner if isinstance(inner, dict) else {}


def _content(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = _inner(message).get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _result_text(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return "\n".join(_text(block.get("text")) for block in blocks)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
