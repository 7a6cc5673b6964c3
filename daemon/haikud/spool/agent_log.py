r"""The task's log: for people, with some lines for grep.

Three kinds of lines. Facts stand in column one (`tokens_used N`, `context_tokens N`, `retry K/MAX REASON`). The
runner's own words begin with the time. What an agent or its tools print begins with `agent | `, with control bytes,
invalid UTF-8 and the marks that turn text around escaped as \xNN.

Promises: these commands count facts and nothing else, whatever an agent prints:
`grep tokens_used LOGS | awk '{sum+=$2} END {print sum}'`, `grep retry LOGS | wc -l`, `grep context_tokens LOGS`.
To keep that, the three words are broken wherever they are not facts: the first letter escaped in an agent's line
(`\x72etry`), respelt in our own (`re-try`, `tokens-used`). No byte hides lines from grep, a NUL for example.

One write(2) in append mode per call, so that lines of several threads and processes never mix.

Bounded: of an agent's words in one attempt at most `most_agent_bytes` are written. Three quarters go through as they
come; after that they are held back in memory, and at the end of a command or phase the last of them are written after
a line that says how much was left out. Nothing that is written is ever changed, so that `tail -f` serves. The runner's
own words and facts always go through.

What the machine refuses (a full disk) does not end an attempt: words are lost and counted, facts are owed, and both
are made up for with the first write that succeeds. Any other failure is an OSError.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from haikud.contracts.masking import active_masker
from haikud.spool.reading import UntrustedFile, open_untrusted
from haikud.spool.refusals import REFUSALS

MOST_LINE_BYTES = 8192
"""A longer line of an agent is broken into several."""

MOST_HELD_BYTES = 1_048_576
"""Of an agent's words that are held back in memory."""

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


class _Held:
    """The last of an agent's lines, as it printed them: at most `most` bytes, and whatever comes in at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.left_out = 0  # bytes
        self._parts: deque[bytes] = deque()  # each ends a line
        self._bytes = 0

    def add(self, lines: bytes) -> None:
        """Take whole lines in, and let go of the oldest parts that are not needed any more."""
        self._parts.append(lines)
        self._bytes += len(lines)
        while self._parts and self._bytes - len(self._parts[0]) >= self.most:
            self.left_out += len(self._parts[0])
            self._bytes -= len(self._parts.popleft())

    def text(self) -> str:
        """What goes into the log: whole lines, at most `most` bytes of it, though escaping makes them longer."""
        whole = b"".join(self._parts)
        last = whole[-self.most :] if self.most else b""
        if len(last) < len(whole):
            last = last.partition(b"\n")[2]
        self.left_out += len(whole) - len(last)
        lines = [piece for line in last.split(b"\n")[:-1] for piece in _break_up(line)]
        texts = deque(map(_agent_line, lines))
        excess = sum(len(text.encode()) for text in texts) - self.most
        for line in lines:
            if excess <= 0:
                break
            excess -= len(texts.popleft().encode())
            self.left_out += len(line) + 1
        return "".join(texts)


class AgentLog:
    """One task's agent.log, open for appending: by path, or on a descriptor that stays its giver's.

    `most_agent_bytes`: of an agent's words, as long as this log is open; None: all of them.
    """

    def __init__(self, target: Path | int, most_agent_bytes: int | None = None) -> None:
        self._owned = not isinstance(target, int)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # no FIFO stalls us
        self._descriptor = target if isinstance(target, int) else os.open(target, flags, 0o600)
        self._lock = threading.Lock()
        self._partial: dict[str, bytes] = {}
        self._room = None if most_agent_bytes is None else most_agent_bytes * 3 // 4
        self._room_at_end = 0 if most_agent_bytes is None else min(most_agent_bytes // 4, MOST_HELD_BYTES)
        self._held: _Held | None = None
        self._owed: list[str] = []  # facts that the machine refused
        self._lost = 0  # bytes of words that it refused

    def line(self, text: str) -> None:
        """The runner's own words, the time before each line. They never count as facts."""
        with self._lock:
            self._append(_own_lines(active_masker().text(text)))

    def fact(self, text: str) -> None:
        """A line for grep, in column one; ValueError where it does not begin with one of FACTS and a blank."""
        word, blank, rest = text.partition(" ")
        if word not in FACTS or not blank:
            msg = f"not a fact of the log: {text!r}"
            raise ValueError(msg)
        with self._lock:
            self._owed.append(f"{word} {_respell(active_masker().text(rest))}\n")
            self._make_up()

    def agent(self, data: bytes, source: str = "", *, masked: bool = False) -> None:
        """What the agent or a tool printed. A line that is not finished yet is kept, per `source`, until it is.

        Secrets are masked here, unless a MaskedStream has done so: in pieces, only that can.
        """
        data = data if masked else active_masker().mask(data)
        with self._lock:
            if self._held is not None:  # nothing of it is looked at before it is known to stay
                whole_lines, end, rest = self._with_partial(source, data).rpartition(b"\n")
                full = len(rest) > MOST_LINE_BYTES
                self._held.add(whole_lines + end + (rest + b"\n" if full else b""))
                if rest and not full:
                    self._partial[source] = rest
                return
            *whole, partial = self._with_partial(source, data).split(b"\n")
            pieces = [piece for line in whole for piece in _break_up(line)]
            *long, partial = _break_up(partial)
            if partial:
                self._partial[source] = partial
            self._append_agent([*pieces, *long])

    def _with_partial(self, source: str, data: bytes) -> bytes:
        return self._partial.pop(source, b"") + data

    def flush(self, source: str | None = None) -> None:
        """Write the unfinished line of one source, or of all."""
        with self._lock:
            sources = list(self._partial) if source is None else [source]
            partial = [self._partial.pop(name, b"") for name in sources]
            self._append_agent([line for line in partial if line])

    def release(self) -> None:
        """Write the last of what was held back: a command or a phase is over."""
        with self._lock:
            held, self._held = self._held, None
            if held is None:
                return
            text = held.text()
            if held.left_out:
                said = f"haikud: {held.left_out:,} bytes left out here (limits.log_bytes)"
                follow = f"; the last {len(text.encode()):,} follow" if text else ""
                self._append(_own_lines(said + follow))
            self._room_at_end -= len(text.encode())
            self._append(text)

    def offset(self) -> int:
        """Where the log ends now, in bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Flush, and close what this log opened itself."""
        self.flush()
        self.release()
        with self._lock:
            self._make_up()
        if self._owned:
            os.close(self._descriptor)

    def _append_agent(self, lines: list[bytes]) -> None:
        if self._held is not None:
            self._held.add(_joined(lines))
            return
        texts = list(map(_agent_line, lines))
        if self._room is None:
            self._append("".join(texts))
            return
        through = 0
        for text in texts:
            size = len(text.encode())
            if size > self._room:
                break
            self._room -= size
            through += 1
        self._append("".join(texts[:through]))
        if through < len(lines):
            self._hold(lines[through:])

    def _hold(self, lines: list[bytes]) -> None:
        """From here on. Half of the room that is left for ends: another command or phase may need the other half."""
        self._room = 0
        self._held = _Held(self._room_at_end // 2)
        self._held.add(_joined(lines))
        self._append(
            _own_lines("haikud: the agent's words are held back from here on (limits.log_bytes); their end follows")
        )

    def _append(self, text: str) -> None:
        if not text:
            return
        data = text.encode()
        if not self._make_up() or not self._write(data):
            self._lost += len(data)

    def _make_up(self) -> bool:
        """Write what is owed, and say what was lost; whether nothing is owed any more."""
        if not self._owed and not self._lost:
            return True
        lost = f"haikud: {self._lost:,} bytes of this log are lost: the machine refused them" if self._lost else ""
        text = (_own_lines(lost) if lost else "") + "".join(self._owed)
        before = self.offset()
        if self._write(text.encode()):
            self._owed, self._lost = [], 0
            return True
        with suppress(OSError):  # half a number would be counted; nobody else writes while this runner lives
            os.ftruncate(self._descriptor, before)
        return False

    def _write(self, data: bytes) -> bool:
        """Append, in a line of its own; False where the machine refuses it."""
        if self._last_byte() not in {b"", b"\n"}:
            data = b"\n" + data  # a traceback or a crash left its last line open: column one must be column one
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            return False
        return True

    def _last_byte(self) -> bytes:
        size = self.offset()
        try:
            return os.pread(self._descriptor, 1, size - 1) if size else b""
        except OSError:  # a descriptor that is write-only, or a pipe: nothing to look at
            return b""


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _own_lines(text: str) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return "".join(f"{now} {_respell(part)}\n" for part in text.split("\n"))


def tokens_told(path: Path) -> int:
    """The sum of a log's `tokens_used` facts; 0 where there is no log that can be read."""
    try:
        descriptor = open_untrusted(path)
    except UntrustedFile:
        return 0
    total = 0
    with os.fdopen(descriptor, "rb") as stream:
        for line in iter(lambda: stream.readline(4 * MOST_LINE_BYTES), b""):
            if line.startswith(b"tokens_used "):
                words = line.split()
                total += int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return total


def make_up_tokens(path: Path, tokens: int) -> None:
    """Add what facts of a task's log fall short of `tokens`, the truth: their runner died before it could tell.

    May be repeated: nothing is added twice.
    """
    missing = tokens - tokens_told(path)
    if missing > 0:
        log = AgentLog(path)
        log.line("haikud: tokens of an attempt that ended before it could tell them:")
        log.fact(f"tokens_used {missing}")
        log.close()
