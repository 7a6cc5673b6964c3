"""Attempts to use all there is. Bounded by construction, for the control has no walls."""

from __future__ import annotations

import mmap
import resource
import signal
import threading
from pathlib import Path

from tests.hostile.inside.registry import Place, Row

file_size = Row("file-bytes")


@file_size()
def write_a_huge_file(place: Place) -> bool:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = place.worktree / "huge"
    with path.open("wb") as stream:
        try:
            stream.truncate(place.values["file_bytes"] * 2)  # sparse: it takes no room
        finally:
            path.unlink()
    return True


disk = Row("disk")


@disk()
def write_many_files(place: Place) -> bool:
    paths = [place.out / f"many-{number}" for number in range(4)]
    for path in paths:
        with path.open("wb") as stream:
            stream.truncate(place.values["file_bytes"] // 2)
    for path in paths:
        path.unlink()
    return True


memory = Row("memory-bytes")


@memory()
def map_much_memory(place: Place) -> bool:
    mmap.mmap(-1, place.values["memory_bytes"] * 2, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()  # untouched
    return True


many = Row("process-count")


@many(held_from_root=False)
def start_many_processes(place: Place) -> bool:
    """Some more than are allowed: as threads, which count the same and cost less."""
    over = threading.Event()
    threading.stack_size(65_536)
    started = [threading.Thread(target=over.wait) for _ in range(place.values["more_processes"])]
    try:
        for thread in started:
            thread.start()
    finally:
        over.set()
    return True


cores = Row("memory-bytes")


@cores(root=True)
def raise_its_own_limits(_place: Place) -> bool:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return Path("/proc/self/limits").exists() or hard == 0
