"""`events.jsonl`: what happens in an attempt, one line each, for the engine to relay into status.json.

Promises: lines are appended whole by one write, so that a reader sees whole lines but perhaps for the last; methods
may be called from any thread. Events are hints and never needed to recover: a line that cannot be written (a full
disk) is dropped and does not end the attempt. The file is bounded: beyond MOST_BYTES only phases and costs are told.
Secrets are masked.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.contracts.base import utc_now
from haikud.contracts.masking import active_masker
from haikud.contracts.states import Phase
from haikud.contracts.usage import UsageEntry

MOST_BYTES = 8 * 1_048_576
"""Of all that may be dropped; what is always told comes once a phase or once a call, both bounded."""

MOST_FILES = 100
"""Of undeclared files in one event."""

MOST_MESSAGE = 500
"""Characters of one message: status.json shows them in one line."""


_ALWAYS = frozenset({EventKind.PHASE, EventKind.USAGE})


class EventLog:
    """Appends events to the file at `path`. Remembers the phase and the last percent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._torn = False
        self._room = MOST_BYTES
        self._phase: Phase | None = None
        self._percent: int | None = None

    @property
    def percent(self) -> int | None:
        """The last percent that was said."""
        return self._percent

    def phase(self, phase: Phase, percent: int, message: str = "") -> None:
        """A phase begins. Its percent never falls behind what the agent has claimed already."""
        self._phase = phase
        self._percent = max(percent, self._percent or 0)
        self._append(EventKind.PHASE, message, percent=self._percent)

    def progress(self, percent: int | None, message: str = "") -> None:
        """Progress within a phase; without a percent the last one stays."""
        if percent is not None:
            self._percent = min(100, max(0, percent))
        self._append(EventKind.PROGRESS, message, percent=self._percent)

    def tool(self, message: str, digest: str | None = None) -> None:
        """A tool is being used; `digest` tells this use from every other one."""
        self._append(EventKind.TOOL, message, percent=self._percent, digest=digest)

    def result(self, digest: str, failure: tuple[str, str] | None, tests: str | None = None) -> None:
        """How a tool use went; `failure`: the error in one line, and its digest; `tests`: passing or failing."""
        error, error_digest = failure or (None, None)
        fields = {"error": error and error[:MOST_MESSAGE], "error_digest": error_digest, "tests": tests}
        self._append(EventKind.RESULT, "", digest=digest, **fields)

    def busy(self, seconds: float, message: str = "") -> None:
        """What runs now may be silent for so long: it has a time limit of its own."""
        self._append(EventKind.NOTE, message, percent=self._percent, quiet_seconds=seconds)

    def output(self, message: str, clock: float | None = None) -> None:
        """The agent is at work: at that time of the monotonic clock it gave a sign."""
        self._append(EventKind.OUTPUT, message, percent=self._percent, **({} if clock is None else {"clock": clock}))

    def waits(self, message: str) -> None:
        """The agent is there, and has given no sign lately."""
        self._append(EventKind.WAITS, message, percent=self._percent)

    def files(self, undeclared: list[str]) -> None:
        """The files that have been changed and are not declared, all of them."""
        self._append(EventKind.FILES, "", undeclared=undeclared[:MOST_FILES])

    def usage(self, entry: UsageEntry) -> None:
        """A model call was paid for."""
        self._append(EventKind.USAGE, "", usage=entry)

    def retry(self, message: str) -> None:
        """Something is tried again."""
        self._append(EventKind.RETRY, message, percent=self._percent)

    def waiting(self, seconds: float, message: str) -> None:
        """The attempt waits for the API's limits."""
        self._append(EventKind.WAITING, message, percent=self._percent, seconds=seconds, quiet_seconds=seconds)

    def note(self, message: str) -> None:
        """Anything else worth a line; also the sign of life of a long command."""
        self._append(EventKind.NOTE, message, percent=self._percent)

    def _append(self, kind: EventKind, message: str, **fields: Any) -> None:
        fields = {"clock": time.monotonic(), **fields}
        event = AttemptEvent(at=utc_now(), kind=kind, phase=self._phase, message=message[:MOST_MESSAGE], **fields)
        line = active_masker().document(event.model_dump_json(exclude_none=True).encode() + b"\n")
        with self._lock:
            if self._room < len(line) and kind not in _ALWAYS:
                return
            self._room -= len(line)
            try:
                self._write(line)
            except OSError:
                self._torn = True

    def _write(self, line: bytes) -> None:
        # O_NONBLOCK: a FIFO that an agent put there is refused, not waited for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            whole = b"\n" + line if self._torn else line
            self._torn = os.write(descriptor, whole) != len(whole)
        finally:
            os.close(descriptor)
