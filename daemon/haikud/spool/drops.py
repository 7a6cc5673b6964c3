"""A folder that producers drop files into: what is finished is taken, once, and read, once.

Promises: a file is taken only when nobody has it open for writing, whichever way it was dropped; it is read from a
descriptor that is checked (regular, not a symlink, owned by an allowed user, not too large), and no writer can come
between. What is returned has its taken name durably (or the caller has to see to that, see `scan`): a power cut cannot
bring the old name back, so that a token stands for one drop for ever. Nothing is deleted here before `finish`.

How a file is known to be finished: a read lease is granted only while nobody has it open for writing. Where leases
are refused (another user's file, some filesystems), and for the few files that a first close may leave unfinished (an
empty one: `touch`, then write; a .json that does not parse: `cat >`, then `>>`), size and mtime must have been still
for `settle_seconds`. Stillness is measured on the monotonic clock since the first look, so a wrong clock harms
nothing. A YAML file that was closed is taken at once: a part of it parses too, so parsing proves nothing.

Fails with OSError where the folder cannot be read or written. What one dropped file can cause is never an exception:
it comes back with a fault, as odd, or under `stuck`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from haikud.spool.droppers import droppers, openness
from haikud.spool.durable import remove_if_there
from haikud.spool.new_names import NewNames, put_back
from haikud.spool.reading import read_at_most
from haikud.spool.taken import (
    DropFault,
    OddEntry,
    Taken,
    Terms,
    new_token,
    read_opened,
    read_taken,
    split_taken_name,
    taken_name,
)

__all__ = ["DropFault", "DropFolder", "OddEntry", "Scan", "Taken", "ignore_sigio", "is_left_alone"]

LEFT_ALONE_SUFFIXES = ("~", ".tmp", ".part", ".swp")
MOST_PER_SCAN = 100
MOST_BYTES_PER_SCAN = 16 * 1024 * 1024
MOST_LOOKS_PER_SCAN = 1_000
"""So that one scan of a folder full of files that are not finished holds up nobody."""

MOST_SIGNS_LOOKED_AT = 100_000
"""A JSON file with more brackets and commas is not parsed to see whether it is whole: only stillness tells then."""

_MAY_NOT_BE_TAKEN = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV})
"""Not ours to rename (a sticky folder, an immutable file), or something is mounted there."""

_SHORTEST_WAIT = 0.02  # seconds: what is about to be finished is looked at again soon, but not in a busy loop


@dataclass(frozen=True)
class Scan:
    """What a look at the folder brought."""

    ready: list[Taken]
    odd: list[OddEntry]
    wait_seconds: float | None  # scan again after so long, without any event; None: no need
    stuck: list[str] = field(default_factory=list)  # what may not be renamed, and why: left where it is

    @property
    def brought(self) -> list[Taken | OddEntry]:
        """All that was taken."""
        return [*self.ready, *self.odd]


@dataclass
class _Sight:
    """What is remembered of a file between scans."""

    identity: tuple[int, int, int, int]  # device, inode, size, mtime in ns
    since: float  # monotonic, when it was first seen like this
    whole_json: bool | None = None  # None: not looked at yet


@dataclass(frozen=True)
class _Entry:
    """An entry of the folder."""

    name: str
    path: Path
    status: os.stat_result


def ignore_sigio() -> None:
    """Ignore SIGIO, the kernel's word that someone wants to write to a leased file; it would end the process.

    Leases taken here ask for a signal that is ignored anyway; this covers kernels that send SIGIO all the same.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def is_left_alone(name: str) -> bool:
    """Whether a name says that its file is not finished: a dot before it, or `~ .tmp .part .swp` after it."""
    return name.startswith(".") or name.endswith(LEFT_ALONE_SUFFIXES)


class DropFolder:
    """One drop folder: incoming/, guidance/ or control/. Not thread-safe: one scanner per folder."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        settle_seconds: float,
        allowed_uids: Iterable[int] = (),
        gid: int | None = None,
        empty_is_fine: bool = False,
    ) -> None:
        """`allowed_uids` and the group's members come on top of root and this process's user.

        `empty_is_fine` is for control/.
        """
        self.path = path
        self._empty_is_fine = empty_is_fine
        self.follow(max_bytes=max_bytes, settle_seconds=settle_seconds, allowed_uids=allowed_uids, gid=gid)
        self._sights: dict[str, _Sight] = {}
        self._listed: deque[str] = deque()  # names of the last listing that were not looked at yet
        self._look_again: float | None = None  # monotonic: when the first of those looked at may be finished
        self.names = NewNames(path)  # of what was taken lately

    def follow(
        self, *, max_bytes: int, settle_seconds: float, allowed_uids: Iterable[int] = (), gid: int | None = None
    ) -> None:
        """Go by these limits from now on."""
        self._settle_seconds = settle_seconds
        self._max_bytes = max_bytes
        self._droppers = droppers(allowed_uids, gid)

    def _terms(self) -> Terms:
        """What holds now: who may write the folder is looked at each time."""
        open_to = openness(self.path, self._droppers)
        return Terms(self._max_bytes, self._droppers, open_to, self._empty_is_fine)

    def scan(self, *, sync: bool = True) -> Scan:
        """`_scan`; what it took before it failed gets its name back, or else is brought by the next one.

        With `sync` False the taken names are not durable yet: `names` must be, before anything is done about them.
        """
        brought = self.names.owed()
        ready = [one for one in brought if isinstance(one, Taken)]
        odd = [one for one in brought if isinstance(one, OddEntry)]
        try:
            found = self._scan(ready, odd)
        except OSError:
            self.names.add([*ready, *odd])
            self.names.give_back()
            raise
        self.names.add([*ready, *odd])
        if sync:
            self.names.make_durable()
        return found

    def _scan(self, ready: list[Taken], odd: list[OddEntry]) -> Scan:
        """Take what is finished: the oldest first, MOST_PER_SCAN at most.

        A long listing is worked through scan by scan, so that ten thousand files are listed once and not a hundred
        times; what comes meanwhile is in the next listing.
        """
        now = time.monotonic()
        if not self._listed:
            self._list()
        stuck: list[str] = []
        size = looks = 0
        while self._listed:
            if len(ready) + len(odd) >= MOST_PER_SCAN or size >= MOST_BYTES_PER_SCAN or looks >= MOST_LOOKS_PER_SCAN:
                break
            looks += 1
            name = self._listed.popleft()
            try:
                entry = self._entry(name)
                found = self._look_at(entry, now) if entry is not None else None
            except OSError as error:
                if error.errno not in _MAY_NOT_BE_TAKEN:
                    self._listed.clear()
                    raise
                stuck.append(f"{self.path / name} cannot be taken: {error.strerror}")
                continue
            if isinstance(found, float):
                self._look_again = min(now + found, self._look_again or now + found)
            elif isinstance(found, Taken):
                ready.append(found)
                size += len(found.data or b"")
            elif found is not None:
                odd.append(found)
        return Scan(ready, odd, self._seconds_to_wait(now), stuck)

    @property
    def is_through(self) -> bool:
        """Whether the last listing was worked through."""
        return not self._listed

    def taken_tokens(self) -> list[tuple[str, Path]]:
        """Token and path of every file that was taken and not finished: recovery compares with what is recorded."""
        return [(token, path) for token, _, path in self._taken()]

    def left_over(self, skip: Collection[str] = ()) -> list[Taken]:
        """The files that were taken and not finished, the oldest first; as many as one scan brings.

        Those of the tokens in `skip` are left out. Where something comes back there may be more.
        """
        self.names.owed()  # what a scan owes lies there too: brought twice it would be admitted twice
        found_taken: list[tuple[int, str, str, Path]] = []
        for token, name, path in self._taken():
            if token not in skip:
                with suppress(FileNotFoundError):
                    found_taken.append((path.lstat().st_mtime_ns, name, token, path))
        left: list[Taken] = []
        size = 0
        for mtime_ns, name, token, path in sorted(found_taken):
            if len(left) >= MOST_PER_SCAN or size >= MOST_BYTES_PER_SCAN:
                break
            found = read_taken(token, name, path, self._terms())
            if isinstance(found, OddEntry):
                found = Taken(token, name, path, None, DropFault.ODD, mtime_ns / 1e9, found.why)
            if found is not None:
                left.append(found)
                size += len(found.data or b"")
        if left:
            self.names.sync()
        return left

    def take_now(self, names: Collection[str]) -> list[Taken | OddEntry]:
        """Take the files of these names, finished or not, and bring those of them that were taken before.

        What somebody still has open goes on to be written, wherever it lies then.
        """
        found: list[Taken | OddEntry | None] = [
            read_taken(token, name, path, self._terms()) for token, name, path in self._taken() if name in names
        ]
        for name in names:
            with suppress(FileNotFoundError):
                token = new_token()
                path = self.path / taken_name(token, name)
                (self.path / name).rename(path)
                self._sights.pop(name, None)
                found.append(read_taken(token, name, path, self._terms()))
        taken = [one for one in found if one is not None]
        if taken:
            self.names.sync()
        return taken

    def finish(self, taken: Taken | OddEntry, *, durable: bool = False) -> None:
        """Unlink a file whose consequence is durable. Were it to come back after a power cut: its token is known."""
        remove_if_there(taken.path)
        if durable:
            self.names.sync()

    def _taken(self) -> Iterator[tuple[str, str, Path]]:
        """Token, name and path of what was taken and lies there still."""
        with os.scandir(self.path) as listing:
            for found in listing:
                if parts := split_taken_name(found.name):
                    yield *parts, self.path / found.name

    def _entry(self, name: str) -> _Entry | None:
        """The entry as it is now; None where it is gone."""
        path = self.path / name
        with suppress(FileNotFoundError):
            return _Entry(name, path, path.lstat())
        return None

    def _list(self) -> None:
        """List what lies there, the oldest first."""
        found: list[tuple[int, str]] = []
        with os.scandir(self.path) as listing:
            for entry in listing:
                if not is_left_alone(entry.name):
                    with suppress(FileNotFoundError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        found.sort()
        self._listed = deque(name for _, name in found)
        self._sights = {name: self._sights[name] for _, name in found if name in self._sights}
        self._look_again = None

    def _seconds_to_wait(self, now: float) -> float | None:
        if self._listed:
            return 0.0
        return None if self._look_again is None else round(max(0.0, self._look_again - now), 6)

    def _look_at(self, entry: _Entry, now: float) -> Taken | OddEntry | float | None:
        """Take the entry; or seconds to wait, where it is not finished; or None, where it is gone."""
        if not stat.S_ISREG(entry.status.st_mode):
            return self._take(entry)
        try:
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:  # another process's lease is on it
                return self._pause()
            # Not ours to read, or no file any more: once it is still, taking it finds out.
            wait = self._unsettled_for(self._sight(entry.name, entry.status, now), now)
            return self._take(entry) if wait is None else wait
        try:
            wait = self._wait_for(entry, descriptor, now)
            return self._take(entry, descriptor) if wait is None else wait
        finally:
            os.close(descriptor)  # and with it the lease: until here a new writer waited in its open(2)

    def _wait_for(self, entry: _Entry, descriptor: int, now: float) -> float | None:
        """Seconds to wait for a file that may not be finished; None: it is, and leased where leases are granted."""
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored by default, unlike SIGIO
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            leased = True
        except OSError as error:
            if error.errno == errno.EAGAIN:
                self._sights.pop(entry.name, None)
                return self._pause()
            leased = False
        status = os.fstat(descriptor)
        sight = self._sight(entry.name, status, now)
        wait = self._unsettled_for(sight, now)
        if wait is None or not leased:
            return wait
        if status.st_size == 0:
            return None if self._empty_is_fine else wait
        if entry.name.endswith(".json") and status.st_size <= self._max_bytes:
            if sight.whole_json is None:
                sight.whole_json = _is_whole_json(read_at_most(descriptor, self._max_bytes))
            return None if sight.whole_json else wait
        return None

    def _sight(self, name: str, status: os.stat_result, now: float) -> _Sight:
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        sight = self._sights.get(name)
        if sight is None or sight.identity != identity:
            sight = self._sights[name] = _Sight(identity, now)
        return sight

    def _unsettled_for(self, sight: _Sight, now: float) -> float | None:
        left = self._settle_seconds - (now - sight.since)
        return max(left, _SHORTEST_WAIT) if left > 0 else None

    def _pause(self) -> float:
        """How long to wait for a writer where no event tells that it has closed."""
        return max(self._settle_seconds, _SHORTEST_WAIT)

    def _take(self, entry: _Entry, seen: int | None = None) -> Taken | OddEntry | float | None:
        token = new_token()
        path = self.path / taken_name(token, entry.name)
        try:
            entry.path.rename(path)
        except FileNotFoundError:
            return None
        self._sights.pop(entry.name, None)
        if seen is not None:
            if _is_open_as(seen, path):
                return read_opened(token, entry.name, path, seen, self._terms())
            if put_back(path, entry.path):
                return _SHORTEST_WAIT  # it was replaced between the look and the rename: the new one gets its own look
        return read_taken(token, entry.name, path, self._terms())


def _is_whole_json(data: bytes) -> bool:
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_SIGNS_LOOKED_AT:
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_open_as(descriptor: int, path: Path) -> bool:
    """Whether that regular file lies there."""
    try:
        status = os.fstat(descriptor)
        return stat.S_ISREG(status.st_mode) and os.path.samestat(status, path.lstat())
    except FileNotFoundError:
        return False
