"""Watching the drop folders. Events are hints: each one only makes the daemon look; scans decide.

Dropping every event would lose nothing, only time: a timer scans too, and sees that a watched folder was replaced.
Handlers run in watchdog's threads; they set a flag and never raise, because an exception ends its dispatch for good.
Our own names (they begin with a dot) wake nobody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

from haikud.contracts.settings import Settings
from haikud.engine.filesystem import silent_filesystem

INOTIFY, POLLING = "inotify", "polling"

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]
"""A link makes a file without closing it; a move in and a move within are moves; opening and reading say nothing."""

_MODIFIED: list[type[FileSystemEvent]] = [FileModifiedEvent]
"""The polling observer never sees a file closed."""


class Watcher:
    """Calls `look(folder)` in the loop's thread when something may have been dropped there."""

    def __init__(
        self,
        folders: Iterable[Path],
        loop: asyncio.AbstractEventLoop,
        look: Callable[[Path], None],
        settings: Settings,
        say: Callable[[str], None],
    ) -> None:
        self._folders = list(folders)
        self._loop = loop
        self._look = look
        self._settings = settings
        self._say = say
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, tuple[ObservedWatch | None, tuple[int, int] | None]] = {}
        self.kind = INOTIFY

    def start(self) -> None:
        """Begin. Where inotify cannot be had, by polling."""
        kind, why = self._choose()
        if why:
            self._say(f"watching by polling: {why}")
        try:
            self._begin(kind)
        except OSError as error:
            if kind == POLLING or self._settings.watcher == INOTIFY:
                raise
            self._say(f"watching by polling: inotify cannot be had ({error}); see fs.inotify.max_user_instances")
            self.stop()
            self._begin(POLLING)

    def check(self) -> None:
        """Watch folders again that were replaced. Raises OSError where one cannot be watched."""
        for folder, (watch, identity) in list(self._watches.items()):
            now = _identity(folder)
            if now == identity and watch is not None:
                continue
            if watch is not None and self._observer is not None:
                self._observer.unschedule(watch)
            self._watches[folder] = (None, None)
            if now is not None:
                self._watch(folder)
                self._say(f"{folder} was replaced and is watched again")
                self._look(folder)

    def stop(self) -> None:
        """End; no call of `look` comes afterwards but those on their way."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=2.0)
        self._observer = None
        self._watches = {}

    def _choose(self) -> tuple[str, str]:
        if self._settings.watcher != "auto":
            return self._settings.watcher, ""
        silent = silent_filesystem(self._folders[0])
        return (POLLING, f"the spool is on {silent}, where events may be missing") if silent else (INOTIFY, "")

    def _begin(self, kind: str) -> None:
        self.kind = kind
        self._observer = Observer() if kind == INOTIFY else PollingObserver(timeout=self._settings.poll_seconds)
        for folder in self._folders:
            self._watch(folder)
        self._observer.start()

    def _watch(self, folder: Path) -> None:
        assert self._observer is not None  # noqa: S101 - only called between _begin and stop
        identity = _identity(folder)
        events = _EVENTS if self.kind == INOTIFY else _EVENTS + _MODIFIED
        handler = _Hint(folder, self._loop, self._look)
        watch = self._observer.schedule(handler, str(folder), recursive=False, event_filter=events)
        self._watches[folder] = (watch, identity)


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
        try:
            self._loop.call_soon_threadsafe(self._look, self._folder)
        except RuntimeError:
            return  # the loop is closed: nobody looks any more


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
