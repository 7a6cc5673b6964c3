"""Looking at processes from outside."""

from __future__ import annotations

from contextlib import suppress

import psutil

from haikud.sandbox.process_table import carries_marker


def members(marker: str) -> list[psutil.Process]:
    """Every living process whose environment carries HAIKUD_OUT=marker."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and carries_marker(process.pid, marker):
                found.append(process)
    return found
