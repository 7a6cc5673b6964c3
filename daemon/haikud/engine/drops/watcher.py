"""Watching the drop folders. Events are hints: each one only makes the daemon look; scans decide.

Dropping every event would lose nothing, only time: a timer scans too, and sees that a watched folder was replaced or
that a thread of the watcher died; then it is started again. After an overflow of the kernel's queue everything is
looked at. Where inotify cannot be had because its limits are used up, folders are polled, and inotify is tried again
by and by; where not even a thread can be had, the timer alone must do. None of this ends the daemon.

Handlers run in watchdog's threads; they set a flag and never raise, because an exception ends its dispatch for good.
Our own names (they begin with a dot) wake nobody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
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
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import InotifyEvent, InotifyFD
from watchdog.observers.polling import PollingObserver

from haikud.contracts.live import FaultKind
from haikud.contracts.settings import Settings
from haikud.engine.drops.filesystem import silent_filesystem
from haikud.engine.log_levels import Warn
from haikud.engine.machine.faults import new_thread
from haikud.engine.machine.trouble import Trouble

INOTIFY, POLLING, TIMER = "inotify", "polling", "timer"

WATCHING, OVERFLOW = "watching the drop folders by inotify", "reading inotify's events"

SHOWN_SECONDS = 60.0
"""How long an overflow is shown: it is over when it is noticed."""

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
        trouble: Trouble,
        say: Callable[[str], None],
    ) -> None:
        self._folders = list(folders)
        self._loop = loop
        self._look = look
        self._settings = settings
        self._trouble = trouble
        self._say = say
        self._observer: BaseObserver | None = None
        self._queue: _Queue | None = None
        self._watches: dict[Path, tuple[ObservedWatch | None, tuple[int, int] | None]] = {}
        self._wanted = INOTIFY
        self.kind = TIMER

    def start(self) -> None:
        """Begin, as well as the machine allows."""
        self._wanted, why = self._choose()
        if why:
            self._say(Warn(f"watching by polling: {why}"))
        self._begin_as_allowed()

    def check(self) -> None:
        """Start again what died, return to inotify where it can be had again, watch replaced folders again.

        Raises OSError where a folder cannot be watched.
        """
        if self.kind != TIMER and not self._lives():
            self._say(Warn(f"watching by {self.kind} had ended; it is started again, and everything is looked at"))
            self._restart()
        elif self.kind != self._wanted:
            self._return_to_wanted()
        for folder, (watch, identity) in list(self._watches.items()):
            now = _identity(folder)
            if now == identity and watch is not None:
                continue
            if watch is not None and self._observer is not None:
                self._observer.unschedule(watch)
            self._watches[folder] = (None, None)
            if now is not None and self._observer is not None:
                self._watch(folder)
                self._say(Warn(f"{folder} was replaced and is watched again"))
                self._look(folder)

    def stop(self) -> None:
        """End; no call of `look` comes afterwards but those on their way."""
        observer, queue = self._observer, self._queue
        self._observer = self._queue = None
        self._watches = {}
        if observer is not None:
            with suppress(RuntimeError, OSError):  # threads that never began, or a queue that is gone
                observer.unschedule_all()
            if observer.is_alive():
                observer.stop()
                observer.join(timeout=2.0)
        if queue is not None:
            queue.stop()

    def _choose(self) -> tuple[str, str]:
        if self._settings.watcher != "auto":
            return self._settings.watcher, ""
        silent = silent_filesystem(self._folders[0])
        return (POLLING, f"the spool is on {silent}, where events may be missing") if silent else (INOTIFY, "")

    def _begin_as_allowed(self) -> None:
        for kind in [self._wanted, POLLING]:
            try:
                self._begin(kind)
            except OSError as error:
                self.stop()
                self._mention(error)
            else:
                return
        self.kind = TIMER

    def _mention(self, error: OSError) -> None:
        seconds = self._settings.rescan_seconds
        self._trouble.mention(
            FaultKind.WATCH_LIMIT, WATCHING, f"{error}; folders are polled instead, or looked at every {seconds:g} s"
        )

    def _return_to_wanted(self) -> None:
        """Try what could not be had before; what there is is kept where that is still so."""
        kind, watches = self.kind, self._watches
        observer, queue = self._observer, self._queue
        self._observer = self._queue = None
        self._watches = {}
        try:
            self._begin(self._wanted)
        except OSError as error:
            self.stop()
            self.kind, self._watches, self._observer, self._queue = kind, watches, observer, queue
            self._mention(error)
            return
        if observer is not None:
            observer.stop()
        self._look_at_all()

    def _restart(self) -> None:
        self.stop()
        self._begin_as_allowed()
        self._look_at_all()

    def _lives(self) -> bool:
        """Whether all threads that bring events are alive."""
        threads = [self._observer, *(self._observer.emitters if self._observer else ()), self._queue]
        needed = [thread for thread in threads if thread is not None]
        return bool(needed) and all(thread.is_alive() for thread in needed)

    def _begin(self, kind: str) -> None:
        """Watch every folder. Raises OSError, and may have begun then."""
        with new_thread():
            if kind == INOTIFY:
                self._queue = _Queue(self._overflowed)
                self._queue.start()
                self._observer = BaseObserver(InotifyEmitter, inotify_fd=self._queue)
            else:
                self._observer = PollingObserver(timeout=self._settings.poll_seconds)
            self.kind = kind
            for folder in self._folders:
                self._watch(folder)
            self._observer.start()
        if kind == self._wanted:
            self._trouble.heal(WATCHING)

    def _watch(self, folder: Path) -> None:
        assert self._observer is not None  # noqa: S101 - only called between _begin and stop
        identity = _identity(folder)
        if identity is None:
            self._watches[folder] = (None, None)  # it is made again, and then watched
            return
        events = _EVENTS if self.kind == INOTIFY else _EVENTS + _MODIFIED
        handler = _Hint(folder, self._loop, self._look)
        watch = self._observer.schedule(handler, str(folder), recursive=False, event_filter=events)
        self._watches[folder] = (watch, identity)

    def _overflowed(self) -> None:
        """In the thread that reads inotify."""
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._loop.call_soon_threadsafe(self._after_overflow)

    def _after_overflow(self) -> None:
        said = "the kernel dropped events, as its queue was full; every folder is looked at again"
        self._trouble.mention(FaultKind.EVENTS_LOST, OVERFLOW, said, seconds=SHOWN_SECONDS)
        self._look_at_all()

    def _look_at_all(self) -> None:
        for folder in self._folders:
            self._look(folder)


class _Queue(InotifyFD):
    """An inotify instance of our own, with its thread: it tells of overflows, which watchdog only logs."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        super().__init__()
        self._overflowed = overflowed

    def handle_event(self, event: InotifyEvent) -> None:
        """In its own thread."""
        if event.is_queue_overflow:
            self._overflowed()
        else:
            super().handle_event(event)


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
