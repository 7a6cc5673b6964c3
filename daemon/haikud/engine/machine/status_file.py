"""status.json on a disk that is full: a reserve of room is kept for it, so that it can still say so.

The reserve is a file beside it with blocks of its own. Where a new file cannot be written, the picture goes into the
reserve, which is then renamed over status.json; a new reserve is made as soon as there is room. Derived and never
fsynced. Fails with OSError where even that does not serve, as on a read-only filesystem.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from haikud.contracts.live import LiveStatus
from haikud.spool.durable import write_quickly
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump

RESERVE_BYTES = (65_536, 16_384, 8_192)
"""What is tried, one after the other: a small reserve is better than none."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_status(layout: SpoolLayout, status: LiveStatus, text: bytes | None = None) -> None:
    """Replace status.json, from the reserve where there is no room; `text` is `dump(status)`. Raises OSError."""
    make_reserve(layout.status_reserve)
    try:
        write_quickly(layout.status_file, dump(status) if text is None else text)
    except OSError as error:
        if error.errno not in _NO_ROOM or not _write_into_reserve(layout, status):
            raise
        make_reserve(layout.status_reserve)  # of the room that the last status.json had


def make_reserve(path: Path) -> None:
    """Make the reserve where there is none, as large as there is room for."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # it is there; or the machine refuses it, and then other things too
    made = False
    try:
        for size in RESERVE_BYTES:
            with suppress(OSError):
                os.posix_fallocate(descriptor, 0, size)
                made = True
                break
    finally:
        os.close(descriptor)
        if not made:
            with suppress(OSError):
                path.unlink()


def _write_into_reserve(layout: SpoolLayout, status: LiveStatus) -> bool:
    """Whether the picture, with as many tasks as the reserve has room for, is in the place of status.json."""
    path = layout.status_reserve
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        data = fitting(status, os.fstat(descriptor).st_size)
        written = os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        if written != len(data):
            return False
        path.rename(layout.status_file)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def fitting(status: LiveStatus, size: int) -> bytes:
    """The picture in at most `size` bytes: with fewer and fewer tasks and plans. At least the bare one is returned."""
    data, tasks, plans = dump(status), len(status.tasks), len(status.plans)
    while len(data) > size and (tasks or plans):
        tasks, plans = tasks // 2, plans // 2
        fewer = {
            "tasks": status.tasks[:tasks],
            "tasks_left_out": status.tasks_left_out + len(status.tasks) - tasks,
            "plans": status.plans[:plans],
            "plans_left_out": status.plans_left_out + len(status.plans) - plans,
        }
        data = dump(status.model_copy(update=fewer))
    return data
