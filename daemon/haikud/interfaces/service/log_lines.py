"""The daemon's log on stderr: which dress its lines wear, and how grave each one is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from haikud.spool.log_lines import Dress, write_line


def choose_dress(environ: Mapping[str, str], *, as_json: bool) -> Dress:
    """By whether stderr is the journal's own stream ($JOURNAL_STREAM: device and inode)."""
    if as_json:
        return Dress.JSON
    with suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return Dress.JOURNAL
    return Dress.PEOPLE


def log_to_stderr(dress: Dress) -> Callable[[str], None]:
    """Something to `say` lines to."""
    from haikud.engine.log_levels import Alarm, Warn

    def say(text: str) -> None:
        level = "error" if isinstance(text, Alarm) else "warning" if isinstance(text, Warn) else "info"
        write_line(dress, level, text)

    return say
