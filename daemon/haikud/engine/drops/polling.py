"""Polling folders, by watchdog, where inotify cannot be had or does not see every change.

Its handlers run in its threads; they set a flag and never raise, because an exception ends its dispatch for good. Names
that begin with a dot wake nobody. Fails with OSError where a thread is refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.polling import PollingObserver

from haikud.engine.machine.faults import new_thread

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]
"""A file that is closed is not seen, one that has changed is."""


class Polling:
    """Calls `look(folder)` in the loop's thread when something may have been dropped there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[Path], None], seconds: float) -> None:
        self._loop = loop
        self._look = look
        self._observer = PollingObserver(timeout=seconds)

    def begin(self) -> None:
        """Begin, once the folders are known."""
        with new_thread():
            self._observer.start()

    def watch(self, folder: Path) -> ObservedWatch:
        """Watch a folder; what `unwatch` wants."""
        handler = _Hint(folder, self._loop, self._look)
        with new_thread():
            return self._observer.schedule(handler, str(folder), recursive=False, event_filter=_EVENTS)

    def unwatch(self, watch: object) -> None:
        """Watch it no longer."""
        if isinstance(watch, ObservedWatch):
            self._observer.unschedule(watch)

    def lives(self) -> bool:
        """Whether all threads that bring events are alive."""
        return self._observer.is_alive() and all(one.is_alive() for one in self._observer.emitters)

    def stop(self) -> None:
        """End; no call of `look` comes afterwards but those on their way."""
        with suppress(RuntimeError, OSError):  # threads that never began
            self._observer.unschedule_all()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=2.0)


class _Hint(FileSystemEventHandler):
    """Says that a folder is worth a look."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, look: Callable[[Path], None]) -> None:
        self._folder = folder
        self._loop = loop
        self._look = look

    def dispatch(self, event: FileSystemEvent) -> None:
        """Never raises."""
        name = os.path.basename(os.fsdecode(event.dest_path or event.src_path))  # noqa: PTH119 - no Path per event
        if name.startswith("."):
            return
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._loop.call_soon_threadsafe(self._look, self._folder)
