"""Following agents' logs: the new bytes of each, line by line, with the task's name where there are several.

A log is one file over all attempts and only grows, so an offset is all there is to remember. A line is printed when it
is whole; the rest of a log that ends in the middle of one comes at the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haikud.interfaces.looking import refs_of
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.1
_CHUNK_BYTES = 1 << 20


@dataclass
class LogTail:
    """One log, read from where the last look ended."""

    path: Path
    offset: int = 0

    def new_lines(self, *, whole: bool = True) -> bytes:
        """What was added since; only whole lines, or with `whole=False` the rest too."""
        parts = []
        try:
            with self.path.open("rb") as log:
                log.seek(self.offset)
                while chunk := log.read(_CHUNK_BYTES):
                    parts.append(chunk)
        except FileNotFoundError:
            return b""
        added = b"".join(parts)
        if whole:
            added = added[: added.rfind(b"\n") + 1]
        self.offset += len(added)
        return added


class LogPrinter:
    """Prints the logs of a plan or task to stdout; tasks that appear later are taken up when they do."""

    def __init__(self, layout: SpoolLayout, identifier: str) -> None:
        self.layout = layout
        self.identifier = identifier
        self.tails: dict[str, LogTail] = {}

    def print_new(self, *, whole: bool = True) -> bool:
        """Print what is new; whether there was anything."""
        for ref in refs_of(self.layout, self.identifier):
            if ref not in self.tails:
                self.tails[ref] = LogTail(self.layout.task(ref).log)
        printed = False
        for ref, tail in self.tails.items():
            added = tail.new_lines(whole=whole)
            if added:
                printed = True
                prefix = f"{ref}: ".encode() if len(self.tails) > 1 else b""
                sys.stdout.buffer.write(b"".join(prefix + line for line in added.splitlines(keepends=True)))
        if printed:
            sys.stdout.buffer.flush()
        return printed


def follow(layout: SpoolLayout, identifier: str, *, is_over: Callable[[], bool]) -> None:
    """Print logs as they grow until `is_over`, and then what is left of them."""
    printer = LogPrinter(layout, identifier)
    while True:
        over = is_over()  # before the look: whatever was written by then is printed below
        printer.print_new(whole=not over)
        if over:
            return
        time.sleep(LOOK_SECONDS)
