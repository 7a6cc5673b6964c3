"""Watching the drop folders. Events are hints: each one only makes the daemon look; scans decide.

Dropping every event would lose nothing, only time: a timer scans too, and sees that a watched folder was replaced or
that what brings events has died; then it is started again. After an overflow of the kernel's queue everything is
looked at. Where inotify cannot be had because its limits are used up, folders are polled, and inotify is tried again
by and by; where not even a thread can be had, the timer alone must do. None of this ends the daemon.

Our own names (they begin with a dot) wake nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from haikud.contracts.live import FaultKind
from haikud.contracts.settings import Settings
from haikud.engine.drops.filesystem import silent_filesystem
from haikud.engine.drops.inotify import Inotify
from haikud.engine.drops.polling import Polling
from haikud.engine.log_levels import Warn
from haikud.engine.machine.trouble import Trouble

INOTIFY, POLLING, TIMER = "inotify", "polling", "timer"

WATCHING, OVERFLOW = "watching the drop folders by inotify", "reading inotify's events"

SHOWN_SECONDS = 60.0
"""How long an overflow is shown: it is over when it is noticed."""


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
        self._source: Inotify | Polling | None = None
        self._watches: dict[Path, tuple[object, tuple[int, int] | None]] = {}
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
        if self.kind != TIMER and not (self._source and self._source.lives()):
            self._say(Warn(f"watching by {self.kind} had ended; it is started again, and everything is looked at"))
            self._restart()
        elif self.kind != self._wanted:
            self._return_to_wanted()
        source = self._source
        for folder, (watch, identity) in list(self._watches.items()):
            now = _identity(folder)
            if now == identity and watch is not None:
                continue
            if watch is not None and source is not None:
                source.unwatch(watch)
            self._watches[folder] = (None, None)
            if now is not None and source is not None:
                self._watch(source, folder)
                self._say(Warn(f"{folder} was replaced and is watched again"))
                self._look(folder)

    def stop(self) -> None:
        """End; no call of `look` comes afterwards but those on their way."""
        source, self._source = self._source, None
        self._watches = {}
        if source is not None:
            source.stop()

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
        kind, watches, source = self.kind, self._watches, self._source
        self._source, self._watches = None, {}
        try:
            self._begin(self._wanted)
        except OSError as error:
            self.stop()
            self.kind, self._watches, self._source = kind, watches, source
            self._mention(error)
            return
        if source is not None:
            source.stop()
        self._look_at_all()

    def _restart(self) -> None:
        self.stop()
        self._begin_as_allowed()
        self._look_at_all()

    def _begin(self, kind: str) -> None:
        """Watch every folder. Raises OSError, and may have begun then."""
        source = self._source = (
            Inotify(self._loop, self._look, self._overflowed)
            if kind == INOTIFY
            else Polling(self._loop, self._look, self._settings.poll_seconds)
        )
        self.kind = kind
        for folder in self._folders:
            self._watch(source, folder)
        source.begin()
        if kind == self._wanted:
            self._trouble.heal(WATCHING)

    def _watch(self, source: Inotify | Polling, folder: Path) -> None:
        identity = _identity(folder)
        if identity is None:
            self._watches[folder] = (None, None)  # it is made again, and then watched
        else:
            self._watches[folder] = (source.watch(folder), identity)

    def _overflowed(self) -> None:
        said = "the kernel dropped events, as its queue was full; every folder is looked at again"
        self._trouble.mention(FaultKind.EVENTS_LOST, OVERFLOW, said, seconds=SHOWN_SECONDS)
        self._look_at_all()

    def _look_at_all(self) -> None:
        for folder in self._folders:
            self._look(folder)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
