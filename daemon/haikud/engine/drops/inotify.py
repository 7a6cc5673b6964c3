"""Inotify on the loop's own selector: an event costs one read in the loop's thread, and no thread of ours.

Promises: a folder is looked at once for all events that are read together; names that begin with a dot wake nobody. An
overflow is told. Fails with OSError where an instance or a watch is refused (EMFILE, ENOSPC); what fails later ends it
quietly, `lives` says so, and whoever checks now and then starts another one. Descriptors are closed in children.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import inotify_simple
from inotify_simple import INotify, flags

_MASK = flags.CREATE | flags.CLOSE_WRITE | flags.MOVED_TO
"""A link makes a file without closing it; a move in and a move within are moves; opening and reading say nothing."""


class Inotify:
    """Calls `look(folder)` when something may have been dropped there, and `overflowed` when events were lost."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, look: Callable[[Path], None], overflowed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._look = look
        self._overflowed = overflowed
        self._folders: dict[int, Path] = {}
        # Else it runs ldconfig to find the C library that is loaded already.
        inotify_simple._libc = ctypes.CDLL(None, use_errno=True)  # noqa: SLF001
        self._inotify = INotify(nonblocking=True)
        loop.add_reader(self._inotify.fileno(), self._read)

    def begin(self) -> None:
        """Nothing more: every watch counts at once."""

    def watch(self, folder: Path) -> int:
        """Watch a folder; what `unwatch` wants."""
        number: int = self._inotify.add_watch(str(folder), _MASK)
        self._folders[number] = folder
        return number

    def unwatch(self, watch: object) -> None:
        """Watch it no longer; it may be gone."""
        if isinstance(watch, int) and self._folders.pop(watch, None) is not None:
            with suppress(OSError):  # the kernel drops the watch of a folder that is removed
                self._inotify.rm_watch(watch)

    def lives(self) -> bool:
        """Whether events are read."""
        return not self._inotify.closed

    def stop(self) -> None:
        """End; nothing is called afterwards."""
        if not self._inotify.closed:
            self._loop.remove_reader(self._inotify.fileno())
            with suppress(OSError):
                self._inotify.close()

    def _read(self) -> None:
        try:
            events = self._inotify.read(timeout=0)
        except OSError:
            self.stop()
            return
        if any(event.mask & flags.Q_OVERFLOW for event in events):
            self._overflowed()
        named = {event.wd: None for event in events if event.name and not event.name.startswith(".")}
        for number in named:
            if number in self._folders:
                self._look(self._folders[number])
