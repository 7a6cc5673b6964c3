"""How many files the daemon may have open: as many as it is allowed to allow itself; its agents as many as before.

Many programs still ask for small limits because select() cannot watch descriptors from 1024 on; so what the daemon
starts gets back the soft limit that the daemon was started with.
"""

from __future__ import annotations

import resource
from contextlib import suppress

ENOUGH = 65_536


def raise_open_files() -> tuple[int, int] | None:
    """Raise our soft limit; the limits as they were, None where there was nothing to raise."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return before
    return None


def give_back(pid: int, limits: tuple[int, int] | None) -> None:
    """Give a process that we started the limits that we were started with. Nothing where it is gone."""
    if limits is not None:
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
