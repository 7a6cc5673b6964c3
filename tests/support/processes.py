"""Looking at processes from outside."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from haikud.sandbox.prctl import is_subreaper
from haikud.sandbox.process_table import carries_marker

_PR_SET_CHILD_SUBREAPER = 36


def members(marker: str) -> list[psutil.Process]:
    """Every living process whose environment carries HAIKUD_OUT=marker."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and carries_marker(process.pid, marker):
                found.append(process)
    return found


def at_work_in(folder: Path) -> set[int]:
    """Processes whose current folder that is, over several looks: one look misses who forks on and on."""
    found: set[int] = set()
    for _ in range(20):
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and (process / "cwd").readlink() == folder:
                    found.add(int(process.name))
        if found:
            break
        time.sleep(0.01)
    return found


@contextmanager
def as_a_subreaper() -> Iterator[None]:
    """For a while, be what a runner is: the one whom orphans go to."""
    libc, before = ctypes.CDLL(None), is_subreaper()
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, int(before), 0, 0, 0)
