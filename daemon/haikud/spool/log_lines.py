"""Lines of the daemon's and its gateway's log on stderr: a line an event, in one of three dresses.

For people, with the time; for the journal, which has a time of its own, with the level in front (sd-daemon(3)); for
machines, a JSON object (`time`, `level`, `message`). Whatever is said becomes one printable line, so that no event can
look like two, and secrets are masked. A line that cannot be written is lost: the log may lie on the disk that is full.

Only the standard library is imported here.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from enum import StrEnum

from haikud.contracts.masking import active_masker
from haikud.contracts.times import format_time, utc_now

_PRIORITIES = {"info": 6, "warning": 4, "error": 3}


class Dress(StrEnum):
    """How lines look."""

    PEOPLE = "people"
    JOURNAL = "journal"
    JSON = "json"


def write_line(dress: Dress, level: str, text: str) -> None:
    """Write one line. `level`: info, warning or error."""
    text = active_masker().text(text)
    line = " ".join(text.splitlines())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{_dressed(dress, level, line)}\n")
        sys.stderr.flush()


def _dressed(dress: Dress, level: str, line: str) -> str:
    match dress:
        case Dress.JOURNAL:
            return f"<{_PRIORITIES[level]}>{line}"
        case Dress.JSON:
            return json.dumps({"time": format_time(utc_now()), "level": level, "message": line}, ensure_ascii=False)
        case Dress.PEOPLE:
            return f"{format_time(utc_now())} {line}"
