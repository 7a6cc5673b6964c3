"""Which filesystem a folder is on, as far as it matters here: whether every change to it makes an inotify event."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

WITHOUT_EVENTS = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x01021997: "9p",
    0x6A656A63: "virtiofs",
    0x00C36400: "ceph",
    0x5346414F: "afs",
    0x0BD00BD0: "lustre",
    0x786F4256: "vboxsf",
}
"""f_type of statfs(2) -> name, where others can change files without our kernel's knowledge (linux/magic.h)."""


def silent_filesystem(path: Path) -> str | None:
    """The name of the filesystem where events may be missing; None where inotify can be relied on."""
    return WITHOUT_EVENTS.get(_kind(path))


def _kind(path: Path) -> int:
    """f_type of statfs(2), its first field on Linux; 0 where it cannot be asked."""
    room = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), room) != 0:
        return 0
    return ctypes.c_long.from_buffer(room).value & 0xFFFFFFFF
