"""A folder that producers drop files into: what is finished is taken, once, and read, once.

Promises: a file is taken only when nobody has it open for writing, whichever way it was dropped; it is read from a
descriptor that is checked (regular, not a symlink, owned by an allowed user, not too large), and no writer can come
between. What is returned has its taken name durably: a power cut cannot bring the old name back, so that a token
stands for one drop for ever. Nothing is deleted here before `finish`.

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
import re
import secrets
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from haikud.spool.aside import move_aside
from haikud.spool.durable import fsync_folder, remove_if_there
from haikud.spool.reading import UntrustedFile, open_untrusted, read_at_most

LEFT_ALONE_SUFFIXES = ("~", ".tmp", ".part", ".swp")
TAKEN_PREFIX = ".taken-"
MOST_PER_SCAN = 100
MOST_BYTES_PER_SCAN = 16 * 1024 * 1024
LONGEST_NAME = 255  # bytes: NAME_MAX of every filesystem that matters

_TAKEN = re.compile(r"\.taken-([0-9a-f]{16})-(.+)", re.DOTALL)
_SHORTEST_WAIT = 0.02  # seconds: what is about to be finished is looked at again soon, but not in a busy loop


class DropFault(StrEnum):
    """Why a taken file's bytes are of no use."""

    EMPTY = "empty"
    ALL_NUL = "all NUL"  # what a power cut leaves of a careless drop
    TOO_LARGE = "too large"
    NOT_OWNED = "not owned by an allowed user"
    UNREADABLE = "unreadable"
    ODD = "not a regular file"  # only from left_over()


@dataclass(frozen=True)
class Taken:
    """A file that was taken. `data` is None exactly where there is a fault."""

    token: str  # 16 hex digits: what the file caused records it
    name: str  # as dropped; with surrogate escapes where it is no UTF-8
    path: Path  # FOLDER/.taken-TOKEN-NAME
    data: bytes | None = field(repr=False)
    fault: DropFault | None
    mtime: float  # seconds since the epoch
    why: str = ""  # the fault in a sentence


@dataclass(frozen=True)
class OddEntry:
    """A symlink, FIFO, socket, device or folder: never opened, renamed to its taken name, to be set aside."""

    token: str
    name: str
    why: str
    moved_as: str  # .taken-TOKEN-NAME
    path: Path


@dataclass(frozen=True)
class Scan:
    """What a look at the folder brought."""

    ready: list[Taken]
    odd: list[OddEntry]
    wait_seconds: float | None  # scan again after so long, without any event; None: no need
    stuck: list[str] = field(default_factory=list)  # what may not be renamed, and why: left where it is


class _Faulty(Exception):  # noqa: N818 - never leaves this file
    """A taken file's bytes are of no use."""

    def __init__(self, fault: DropFault, why: str) -> None:
        super().__init__(why)
        self.fault = fault
        self.why = why


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


def taken_name(token: str, name: str) -> str:
    """`.taken-TOKEN-NAME`; where that is too long NAME loses the end of its stem, never its suffix."""
    room = LONGEST_NAME - len(TAKEN_PREFIX) - len(token) - 1
    raw = os.fsencode(name)
    if len(raw) > room:
        stem, dot, suffix = raw.rpartition(b".")
        suffix = dot + suffix if stem and len(suffix) <= 16 else b""
        raw = raw[: room - len(suffix)] + suffix
    return f"{TAKEN_PREFIX}{token}-{os.fsdecode(raw)}"


class DropFolder:
    """One drop folder: incoming/, guidance/ or control/. Not thread-safe: one scanner per folder."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        settle_seconds: float,
        allowed_uids: Iterable[int] = (),
        empty_is_fine: bool = False,
    ) -> None:
        """`allowed_uids` come on top of root and this process's user; `empty_is_fine` is for control/."""
        self.path = path
        self._max_bytes = max_bytes
        self._settle_seconds = settle_seconds
        self._uids = {0, os.geteuid(), *allowed_uids}
        self._empty_is_fine = empty_is_fine
        self._sights: dict[str, _Sight] = {}

    def scan(self) -> Scan:
        """Take what is finished: the oldest first, MOST_PER_SCAN at most."""
        now = time.monotonic()
        entries = sorted(
            (entry for entry in self._all() if not is_left_alone(entry.name)),
            key=lambda entry: (entry.status.st_mtime_ns, entry.name),
        )
        self._sights = {entry.name: self._sights[entry.name] for entry in entries if entry.name in self._sights}
        ready: list[Taken] = []
        odd: list[OddEntry] = []
        stuck: list[str] = []
        waits: list[float] = []
        size = 0
        for entry in entries:
            if len(ready) + len(odd) >= MOST_PER_SCAN or size >= MOST_BYTES_PER_SCAN:
                waits.append(0.0)
                break
            try:
                found = self._look_at(entry, now)
            except PermissionError as error:
                stuck.append(f"{entry.path} cannot be taken: {error.strerror}")
                continue
            if isinstance(found, float):
                waits.append(found)
            elif isinstance(found, Taken):
                ready.append(found)
                size += len(found.data or b"")
            elif found is not None:
                odd.append(found)
        if ready or odd:
            # Before anything is done about them: a power cut must not bring an old name back, under a new token.
            fsync_folder(self.path)
        return Scan(ready, odd, min(waits, default=None), stuck)

    def left_over(self) -> list[Taken]:
        """The files that were taken and not finished: recovery compares their tokens with what is recorded."""
        left: list[Taken] = []
        for entry in self._all():
            match = _TAKEN.fullmatch(entry.name)
            if not match:
                continue
            found = self._read(match[1], match[2], entry.path)
            if isinstance(found, OddEntry):
                mtime = entry.status.st_mtime
                found = Taken(found.token, found.name, found.path, None, DropFault.ODD, mtime, found.why)
            if found is not None:
                left.append(found)
        if left:
            fsync_folder(self.path)
        return sorted(left, key=lambda taken: (taken.mtime, taken.name))

    def finish(self, taken: Taken | OddEntry, *, durable: bool = False) -> None:
        """Unlink a file whose consequence is durable. Were it to come back after a power cut: its token is known."""
        remove_if_there(taken.path)
        if durable:
            fsync_folder(self.path)

    def set_aside(self, taken: Taken | OddEntry, rejected: Path, *, keep_taken: bool = False) -> str:
        """Move it into rejected/, byte for byte and durably; the name it has there.

        With `keep_taken` a regular file keeps its taken name until `finish`: so that its reason and its answer can be
        durable before it is gone from here. A call that a crash cut short may be repeated.
        """
        return move_aside(taken.path, taken.name, rejected, keep=keep_taken)

    def _all(self) -> Iterator[_Entry]:
        with os.scandir(self.path) as listing:
            for found in listing:
                with suppress(FileNotFoundError):
                    yield _Entry(found.name, self.path / found.name, found.stat(follow_symlinks=False))

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
        token = secrets.token_hex(8)
        path = self.path / taken_name(token, entry.name)
        try:
            entry.path.rename(path)
        except FileNotFoundError:
            return None
        self._sights.pop(entry.name, None)
        if seen is not None and not _is_open_as(seen, path) and _put_back(path, entry.path):
            return _SHORTEST_WAIT  # it was replaced between the look and the rename: the new one gets its own look
        return self._read(token, entry.name, path)

    def _read(self, token: str, name: str, path: Path) -> Taken | OddEntry | None:
        """What lies under a taken name, checked on the opened file; None where it is gone."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            why = f"{kind_of(status.st_mode)} was dropped; only regular files are taken"
            return OddEntry(token, name, why, path.name, path)

        try:
            data = self._read_checked(path)
        except _Faulty as error:
            return Taken(token, name, path, None, error.fault, status.st_mtime, error.why)
        return None if data is None else Taken(token, name, path, data, None, status.st_mtime)

    def _read_checked(self, path: Path) -> bytes | None:
        try:
            descriptor = open_untrusted(path)
        except UntrustedFile as error:
            if error.missing:
                return None
            raise _Faulty(DropFault.UNREADABLE, error.why) from error
        try:
            status = os.fstat(descriptor)
            if status.st_uid not in self._uids:
                allowed = ", ".join(map(str, sorted(self._uids)))
                raise _Faulty(DropFault.NOT_OWNED, f"it belongs to user {status.st_uid}; allowed are {allowed}")
            data = read_at_most(descriptor, self._max_bytes + 1)
        except OSError as error:
            raise _Faulty(DropFault.UNREADABLE, f"it cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if len(data) > self._max_bytes:
            size = max(status.st_size, len(data))
            raise _Faulty(DropFault.TOO_LARGE, f"it has {size} bytes; at most {self._max_bytes} are read")
        if not data and not self._empty_is_fine:
            raise _Faulty(DropFault.EMPTY, "it is empty")
        if data.count(0) == len(data) and not self._empty_is_fine:
            raise _Faulty(DropFault.ALL_NUL, f"it holds nothing but {len(data)} NUL bytes")
        return data


def kind_of(mode: int) -> str:
    """What an entry is that is no regular file, in words."""
    kinds = {stat.S_IFLNK: "a symlink", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _is_whole_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _put_back(path: Path, name: Path) -> bool:
    """Undo a taking; False where the name is in use again, or what was taken is no file."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        os.link(path, name, follow_symlinks=False)
    except OSError:
        return False
    path.unlink()
    return True
