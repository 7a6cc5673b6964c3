"""The files that our code was loaded from, as they were: whether they are others by now.

To look at each of them is hundreds of system calls. The kernel tells what happens in their folders (inotify): as long
as it says nothing, only the folders are looked at, which change with every file that is put in another's place, as all
installers do. The process that has loaded them looks at all of them whatever it was told, when the last such look is a
second old: on a network's file system nothing may be told, and a file that is written over where it is may be seen only
so, one start late. Where there are no events to be had, each process does that.

What came while it was loading may not be what is loaded: then they have changed from the beginning.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import time
from array import array
from contextlib import suppress

from haikud.spool.claims import own_identity

LOOK_SECONDS = 1.0
"""How long a look at the files holds, unless one of their folders has changed or something was told."""

_WORD = 2**64 - 1
_PART = 65_536

_MODIFY, _ATTRIB, _MOVED, _CREATE, _DELETE, _GONE = 0x2, 0x4, 0xC0, 0x100, 0x200, 0xC00  # linux/inotify.h
_CHANGES = _MODIFY | _ATTRIB | _MOVED | _CREATE | _DELETE | _GONE


class Sources:
    """See the module's head. To be made once all is loaded; `descriptors` are of use until the last look."""

    def __init__(self) -> None:
        found = [getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_watched(name)]
        files = list(dict.fromkeys(file for file in found if file and file.startswith("/")))  # else there is none
        folders = list(dict.fromkeys(file.rpartition("/")[0] for file in files))
        self._events = _watch(folders)  # first: what happens from here on is told, or seen
        began, now = _began(), time.time_ns()  # what is of the future says that a clock was set
        self._is_stale = any(began < changed <= now for changed in map(_changed_at, files))
        # As one text each, which a forked process reads and takes apart: objects one by one lie on hundreds of pages.
        self._files, self._folders = "\n".join(files), "\n".join(folders)
        self._seen, self._seen_folders = _signs(self._files), _signs(self._folders)
        self._looked_at = time.monotonic()
        self._pid = os.getpid()

    @property
    def descriptors(self) -> list[int]:
        """Those that are open."""
        return [] if self._events is None else [self._events]

    def have_changed(self) -> bool:
        """Whether one of them is another by now, or gone, or already was when we had loaded."""
        if not self._is_stale:
            now, folders = time.monotonic(), _signs(self._folders)
            if self._is_due(now) or folders != self._seen_folders:
                self._is_stale = _signs(self._files) != self._seen
                self._looked_at, self._seen_folders = now, folders
        return self._is_stale

    def _is_due(self, now: float) -> bool:
        """Whether all are to be looked at. The first process takes out what was told, right before it looks."""
        is_first = os.getpid() == self._pid
        is_late = now - self._looked_at >= LOOK_SECONDS
        if self._events is None:
            return is_late
        has_told = bool(select.select([self._events], [], [], 0)[0])
        if has_told and is_first:
            with suppress(BlockingIOError):
                while os.read(self._events, _PART):
                    pass
        return has_told or (is_first and is_late)


def _watch(folders: list[str]) -> int | None:
    """A descriptor that is readable once something has changed in one of them; None where the machine has none."""
    libc = ctypes.CDLL(None)
    events = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if events < 0:
        return None
    if any(libc.inotify_add_watch(events, os.fsencode(folder), _CHANGES) < 0 for folder in folders):
        os.close(events)
        return None
    return events


def _is_watched(name: str) -> bool:
    """Our own modules all; of every other package its first, which an upgrade replaces too."""
    return name.startswith("haikud.") or "." not in name


def _changed_at(file: str) -> int:
    """By the clock of files' times, in nanoseconds; 0 where it is gone."""
    try:
        return os.stat(file).st_ctime_ns  # noqa: PTH116 - hundreds of them
    except OSError:
        return 0


def _signs(paths: str) -> array[int]:
    """By which each of those, a line each, is known again."""
    signs = array("Q")
    for path in paths.split("\n"):
        try:
            found = os.stat(path)  # noqa: PTH116 - hundreds of them for each fork
        except OSError:
            signs.extend((0, 0))
        else:
            signs.extend((found.st_mtime_ns & _WORD, found.st_ino))
    return signs


def _began() -> int:
    """When this process was started, at the latest: in nanoseconds, by the clock of files' times."""
    ticks = own_identity().start_time + 1
    seconds_ago = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int(seconds_ago * 1_000_000_000)
