"""The least that a spool can be and keep what it took: inotify, rename, fsync, spawn, rename, fsync. Two slots.

Run by the benchmarks: python -m benchmarks.bare_loop FOLDER SLOTS PROGRAM ARGUMENT...

A file moved into FOLDER/incoming is moved to FOLDER/running, file and folders are fsynced, the program is started, and
at its end the file is moved to FOLDER/done, fsynced too. No plan is read, nothing is checked, answered, limited or
logged, and after a kill nobody can tell what had run.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from pathlib import Path

from benchmarks.watch import Watch


def sync(path: str) -> None:
    """Fsync a file or folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def serve(root: str, slots: int, argv: list[str]) -> None:
    """Until we are killed."""
    watch = Watch(Path(root) / "incoming")
    waiting: deque[str] = deque()
    running: dict[int, tuple[int, str]] = {}  # pidfd -> pid, name
    poll = select.poll()
    poll.register(watch.descriptor, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == watch.descriptor:
                waiting.extend(name for name in watch.names() if not name.startswith("."))
                continue
            pid, name = running.pop(ready)
            poll.unregister(ready)
            os.close(ready)
            os.waitpid(pid, 0)
            os.rename(f"{root}/running/{name}", f"{root}/done/{name}")  # noqa: PTH104 - as little as can be
            sync(f"{root}/done")
        while waiting and len(running) < slots:
            name = waiting.popleft()
            os.rename(f"{root}/incoming/{name}", f"{root}/running/{name}")  # noqa: PTH104
            sync(f"{root}/running/{name}")
            sync(f"{root}/running")
            sync(f"{root}/incoming")
            pid = os.posix_spawn(argv[0], argv, os.environ)
            descriptor = os.pidfd_open(pid)
            running[descriptor] = (pid, name)
            poll.register(descriptor, select.POLLIN)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
