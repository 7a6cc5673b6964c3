"""The daemon's log on stderr: a line an event, in one of three dresses.

For people, with the time; for the journal, which has a time of its own, with the level in front (sd-daemon(3)); for
machines, a JSON object (`time`, `level`, `message`). Whatever is said becomes one printable line, so that no event can
look like two. A line that cannot be written is lost: the log may lie on the disk that is full.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from haikud.contracts.base import format_time, utc_now

Dress = Callable[[str, str], str]
"""(level, one printable line) -> what is written."""

_PRIORITIES = {"info": 6, "warning": 4, "error": 3}


def for_people(level: str, line: str) -> str:
    """Time and text."""
    del level
    return f"{format_time(utc_now())} {line}"


def for_the_journal(level: str, line: str) -> str:
    """`<4>text`: without the time, which the journal has."""
    return f"<{_PRIORITIES[level]}>{line}"


def for_machines(level: str, line: str) -> str:
    """A JSON object."""
    return json.dumps({"time": format_time(utc_now()), "level": level, "message": line}, ensure_ascii=False)


def choose_dress(environ: Mapping[str, str], *, as_json: bool) -> Dress:
    """By whether stderr is the journal's own stream ($JOURNAL_STREAM: device and inode)."""
    if as_json:
        return for_machines
    with suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return for_the_journal
    return for_people


def log_to_stderr(dress: Dress) -> Callable[[str], None]:
    """Something to `say` lines to."""
    from haikud.engine.log_levels import Alarm, Warn

    def say(text: str) -> None:
        level = "error" if isinstance(text, Alarm) else "warning" if isinstance(text, Warn) else "info"
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.splitlines()))
        with suppress(OSError):
            sys.stderr.write(f"{dress(level, line)}\n")
            sys.stderr.flush()

    return say
