"""Fsyncs side by side: ten of them then take about as long as one.

An fsync waits for the disk to flush, and the kernel answers all who wait for the same flush at once; one after the
other they wait for one flush each. Measured on ext4 with a busy disk: nine fsyncs 23 ms one by one, 1.7 ms together.

What `durable.begin_write_back` was called for is written by the time its fsync comes: the first one waits for the disk,
and the others find it done. So one thread begins, and calls the others only where it takes long all the same: to wake
up a thread costs more than such an fsync.

The daemon calls `begin_side_by_side` once, while threads are to be had. Whoever has not (a runner, a command) has its
fsyncs done one by one. Only the standard library is imported here: see spool/durable.py.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

MOST_OPEN = 32
"""So many are open at once."""

THREADS = 4
"""The caller's among them. With eight, the same files took as long and twice the CPU: handing the GIL around costs."""


ALONE_SECONDS = 0.0005
"""So long one thread goes on alone after its first fsync."""


_Opened = tuple[int, Path]


class _Syncers:
    """The threads, where there are any."""

    pool: ThreadPoolExecutor | None = None


def begin_side_by_side(threads: int = THREADS) -> None:
    """Have threads for `sync_all` from now on. Where the machine refuses them it does without."""
    if _Syncers.pool is not None:
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="haikud-fsync")
    all_here = Barrier(threads)
    try:
        for _ in range(threads):
            pool.submit(all_here.wait)
    except RuntimeError:  # none may be started later, when a write is under way
        all_here.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        return
    _Syncers.pool = pool


def sync_all(paths: Iterable[Path]) -> None:
    """Fsync files and folders, whichever is first; on return each is durable.

    Every one is tried; then an OSError is raised, with its path. What has failed must not be synced again as it
    is: the second fsync would succeed without having written anything.
    """
    wanted, faults = list(paths), list[OSError]()
    for begin in range(0, len(wanted), MOST_OPEN):
        faults += _sync_some(wanted[begin : begin + MOST_OPEN])
    if faults:
        raise faults[0]


def _sync_some(paths: Sequence[Path]) -> list[OSError]:
    """What went wrong. All are opened first: the threads then wait for the disk, and hardly for the interpreter."""
    faults, opened = list[OSError](), list[_Opened]()
    try:
        for path in paths:
            try:
                opened.append((os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), path))
            except OSError as error:
                faults.append(_fault(path, error))
        _share_out(deque(opened), faults)
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)
    return faults


def _share_out(waiting: deque[_Opened], faults: list[OSError]) -> None:
    pool = _Syncers.pool

    def sync_next() -> None:
        descriptor, path = waiting.popleft()
        try:
            os.fsync(descriptor)
        except OSError as error:
            faults.append(_fault(path, error))

    def work() -> None:
        with suppress(IndexError):  # another thread has the last one
            while True:
                sync_next()

    if pool is not None and len(waiting) > 1:
        sync_next()
        until = time.monotonic() + ALONE_SECONDS
        while waiting and time.monotonic() < until:
            sync_next()
    others = [pool.submit(work) for _ in range(min(THREADS, len(waiting)) - 1)] if pool is not None else []
    work()
    for one in others:
        if not one.cancel():
            one.result()


def _fault(path: Path, error: OSError) -> OSError:
    kind = "fsync the folder" if os.path.isdir(path) else "fsync"  # noqa: PTH112 - which never raises
    fault = OSError(error.errno, f"cannot {kind}: {error.strerror}", str(path))
    fault.__cause__ = error
    return fault
