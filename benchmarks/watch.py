"""Inotify as the kernel has it, for one folder: names as they are moved or linked in, without a library between."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from pathlib import Path

_MOVED_TO = 0x80  # linux/inotify.h
_CREATED = 0x100
_HEAD = struct.Struct("iIII")


class Watch:
    """A folder that is watched; `descriptor` is readable when something came."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, bytes(folder), _MOVED_TO | _CREATED) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(folder))

    def names(self) -> list[str]:
        """What came since; without waiting."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            *_, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            found.append(os.fsdecode(data[at : at + length].rstrip(b"\0")))
            at += length
        return [name for name in found if name]  # what has none is about the folder itself

    def wait_for(self, name: str, *, seconds: float = 60.0) -> None:
        """Until a file of that name came; TimeoutError."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.descriptor], [], [], left)[0] and name in self.names():
                return
        raise TimeoutError(f"{name} did not come within {seconds} s")

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)
