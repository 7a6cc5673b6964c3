r"""The task's log: for people, with some lines for grep.

Three kinds of lines. Facts stand in column one (`tokens_used N`, `context_tokens N`, `retry K/MAX REASON`). The
runner's own words begin with the time. What an agent or its tools print begins with `agent | `, with control bytes,
invalid UTF-8 and the marks that turn text around escaped as \xNN.

Promises: these commands count facts and nothing else, whatever an agent prints:
`grep tokens_used LOGS | awk '{sum+=$2} END {print sum}'`, `grep retry LOGS | wc -l`, `grep context_tokens LOGS`.
To keep that, the three words are broken wherever they are not facts: the first letter escaped in an agent's line
(`\x72etry`), respelt in our own (`re-try`, `tokens-used`). No byte hides lines from grep, a NUL for example.

One write(2) in append mode per call, so that lines of several threads and processes never mix. Fails with OSError.
"""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

MOST_LINE_BYTES = 8192
"""A longer line of an agent is broken into several."""

FACTS = ("tokens_used", "context_tokens", "retry")
"""The words that only facts may hold."""

_PREFIX = "agent | "

# C0 but the tab, DEL, C1, line separators, the marks that reorder text on a terminal, and what is no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# Only the first letter is matched, so that words that overlap (context_tokens_used) are all found.
_FACT_LETTER = re.compile("|".join(f"{word[0]}(?={word[1:]})" for word in FACTS))

_RESPELT = (("tokens_used", "tokens-used"), ("context_tokens", "context-tokens"), ("retry", "re-try"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    byte_escaped = "\udc80" <= character <= "\udcff"  # how Python carries a byte that is no UTF-8
    encoded = character.encode("utf-8", "surrogateescape" if byte_escaped else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def escape_text(text: str) -> str:
    """`text` with everything escaped that a terminal or grep could trip over; tabs stay."""
    return _UNPRINTABLE.sub(_escape, text)


def _respell(text: str) -> str:
    text = escape_text(text)
    for word, respelt in _RESPELT:
        text = text.replace(word, respelt)
    return text


def _agent_line(line: bytes) -> str:
    text = escape_text(line.decode("utf-8", "surrogateescape"))
    return f"{_PREFIX}{_FACT_LETTER.sub(_escape, text)}\n"


def _break_up(line: bytes) -> list[bytes]:
    """Pieces of at most MOST_LINE_BYTES, not cut within a character where there are characters."""
    pieces: list[bytes] = []
    while len(line) > MOST_LINE_BYTES:
        cut = MOST_LINE_BYTES
        while cut > MOST_LINE_BYTES - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


class AgentLog:
    """One task's agent.log, open for appending: by path, or on a descriptor that stays its giver's."""

    def __init__(self, target: Path | int) -> None:
        self._owned = not isinstance(target, int)
        self._descriptor = (
            target
            if isinstance(target, int)
            else os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        )
        self._lock = threading.Lock()
        self._partial: dict[str, bytes] = {}

    def line(self, text: str) -> None:
        """The runner's own words, the time before each line. They never count as facts."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._append("".join(f"{now} {_respell(part)}\n" for part in text.split("\n")))

    def fact(self, text: str) -> None:
        """A line for grep, in column one; ValueError where it does not begin with one of FACTS and a blank."""
        word, blank, rest = text.partition(" ")
        if word not in FACTS or not blank:
            msg = f"not a fact of the log: {text!r}"
            raise ValueError(msg)
        self._append(f"{word} {_respell(rest)}\n")

    def agent(self, data: bytes, source: str = "") -> None:
        """What the agent or a tool printed. A line that is not finished yet is kept, per `source`, until it is."""
        with self._lock:
            *whole, partial = (self._partial.pop(source, b"") + data).split(b"\n")
            pieces = [piece for line in whole for piece in _break_up(line)]
            *long, partial = _break_up(partial)
            if partial:
                self._partial[source] = partial
            self._append_locked("".join(map(_agent_line, [*pieces, *long])))

    def flush(self, source: str | None = None) -> None:
        """Write the unfinished line of one source, or of all."""
        with self._lock:
            sources = list(self._partial) if source is None else [source]
            partial = [self._partial.pop(name, b"") for name in sources]
            self._append_locked("".join(_agent_line(line) for line in partial if line))

    def offset(self) -> int:
        """Where the log ends now, in bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Flush, and close what this log opened itself."""
        self.flush()
        if self._owned:
            os.close(self._descriptor)

    def _append(self, text: str) -> None:
        with self._lock:
            self._append_locked(text)

    def _append_locked(self, text: str) -> None:
        if not text:
            return
        data = text.encode()
        if self._last_byte() not in {b"", b"\n"}:
            data = b"\n" + data  # a traceback or a crash left its last line open: column one must be column one
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _last_byte(self) -> bytes:
        size = self.offset()
        try:
            return os.pread(self._descriptor, 1, size - 1) if size else b""
        except OSError:  # a descriptor that is write-only, or a pipe: nothing to look at
            return b""
