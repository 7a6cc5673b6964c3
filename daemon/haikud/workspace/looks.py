"""What a repository looked like a moment ago, so that a burst of plans does not ask the same of git again and again.

Where an ordinary checkout lies stays as it is while its `.git` and its settings are the same files. Whether it has
uncommitted changes only git can say, by a look at every file: that is asked again when HEAD or the index has changed.
Else it was clean and still is while its tracked files are what they were, which is looked at for at most a tenth of the
time; with too many files to look at ourselves git is asked, as often, so that a change may be seen late by ten times
as long as the asking took (seconds with 100,000 files). Everything else is read anew each time. Safe from any thread.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from haikud.workspace.tracked_files import State, is_as_noted, note_files

SHARE = 0.1
"""Of the time, for asking one repository."""

MOST_SECONDS = 10.0
_MOST_REPOSITORIES = 1_000

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Place:
    """An ordinary checkout: `TOP/.git` is a folder, and the repository's own."""

    top: str
    stamp: tuple[int, ...]

    @property
    def git_dir(self) -> str:
        """Which is the common one, too."""
        return f"{self.top}/.git"


@dataclass(frozen=True)
class _Seen:
    key: tuple[object, ...]
    dirty: bool
    until: float
    files: dict[str, State] | None  # the tracked ones, where it was clean


@dataclass(frozen=True)
class Note:
    """What a checkout was before git was asked."""

    began: float
    key: tuple[object, ...]
    files: dict[str, State] | None


class RecentLooks:
    """Of one daemon, or of one who asks often."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._seen: dict[str, _Seen] = {}

    def place(self, path: Path) -> Place | None:
        """The checkout whose top this path is known to be; None where git must be asked."""
        place = self._places.get(str(path))
        return place if place is not None and place.stamp == _stamp(place.top, path) else None

    def remember_place(self, path: Path, top: str, git_dir: str, common: str) -> None:
        """What git has said of this path."""
        stamp = _stamp(top, path)
        if stamp is not None and git_dir == common == f"{top}/.git":
            _put(self._places, str(path), Place(top, stamp))

    def dirty(self, place: Place, head: str) -> bool | None:
        """Whether it has uncommitted changes, as far as this is known; None where git must be asked.

        `head`: the branch's full name and its commit, with a blank between them.
        """
        seen = self._seen.get(place.top)
        if seen is None or seen.key != _key(place, head):
            return None
        began = time.monotonic()
        if began <= seen.until:
            return seen.dirty
        if seen.files is None or not is_as_noted(seen.files):
            return None
        _put(self._seen, place.top, replace(seen, until=_until(began)))
        return False

    def note(self, place: Place, head: str) -> Note:
        """What there is now; taken before git is asked whether it has changes."""
        id_bytes = len(head.rpartition(" ")[2]) // 2
        return Note(time.monotonic(), _key(place, head), note_files(place.top, place.git_dir, id_bytes))

    def remember_dirty(self, place: Place, head: str, noted: Note, *, dirty: bool) -> None:
        """What git has said since it was noted."""
        key = _key(place, head)
        files = noted.files if not dirty and key == noted.key else None
        _put(self._seen, place.top, _Seen(key, dirty, _until(noted.began), files))


def _until(began: float) -> float:
    """How long what was looked at since then is taken to be so."""
    now = time.monotonic()
    return now + min((now - began) * (1 / SHARE - 1), MOST_SECONDS)


def _stamp(top: str, path: Path) -> tuple[int, ...] | None:
    """What changes with the repository that a path is the top of; None where it is none of that kind."""
    try:
        named, real = path.stat(), Path(top).stat()
        if (named.st_dev, named.st_ino) != (real.st_dev, real.st_ino):
            return None
        git, settings = os.lstat(f"{top}/.git"), os.lstat(f"{top}/.git/config")
    except OSError:
        return None
    return (
        *(real.st_dev, real.st_ino, git.st_dev, git.st_ino, git.st_mode),
        *(settings.st_ino, settings.st_size, settings.st_mtime_ns, settings.st_ctime_ns),
    )


def _key(place: Place, head: str) -> tuple[object, ...]:
    try:
        index = os.lstat(f"{place.git_dir}/index")
    except OSError:
        return (place, head)
    return (place, head, index.st_ino, index.st_size, index.st_mtime_ns)


def _put(table: dict[str, Kept], key: str, value: Kept) -> None:
    if len(table) >= _MOST_REPOSITORIES:
        table.clear()
    table[key] = value
