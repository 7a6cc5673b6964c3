"""What was taken from a drop folder: its token, its name, and its bytes, read once from a descriptor that is checked.

Promises: nothing but a regular file is opened, no link followed, no more bytes read than allowed. What a dropped file
can cause is never an exception: it comes back with a fault, or as odd. Fails with OSError where the folder fails.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from haikud.spool.droppers import Droppers, Openness, why_not_vouched
from haikud.spool.reading import UntrustedFile, open_untrusted, read_at_most

TAKEN_PREFIX = ".taken-"
LONGEST_NAME = 255  # bytes: NAME_MAX of every filesystem that matters

TAKEN = r"\.taken-([0-9a-f]{16})-((?s:.+))"
"""A taken file's name: `.taken-TOKEN-NAME`."""

_TAKEN = re.compile(TAKEN)
_counter = itertools.count(secrets.randbelow(1 << 16))


class DropFault(StrEnum):
    """Why a taken file's bytes are of no use."""

    EMPTY = "empty"
    ALL_NUL = "all NUL"  # what a power cut leaves of a careless drop
    TOO_LARGE = "too large"
    NOT_OWNED = "not owned by an allowed user"
    NOT_VOUCHED = "in a folder where its owner does not vouch for it"
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
    path: Path  # FOLDER/.taken-TOKEN-NAME


@dataclass(frozen=True)
class Terms:
    """What a dropped file must be."""

    max_bytes: int
    droppers: Droppers
    openness: Openness  # of the folder
    empty_is_fine: bool = False  # for control/


class _Faulty(Exception):  # noqa: N818 - never leaves this file
    """A taken file's bytes are of no use."""

    def __init__(self, fault: DropFault, why: str) -> None:
        super().__init__(why)
        self.fault = fault
        self.why = why


def new_token() -> str:
    """A name for one drop, for ever: the second, a count, and chance for a second daemon of the same second."""
    now, count = int(time.time()) & 0xFFFFFFFF, next(_counter) & 0xFFFF
    return f"{now:08x}{count:04x}{secrets.token_hex(2)}"


def taken_at(token: str) -> float:
    """When a file was taken, seconds since the epoch, as its token says; the file's own times anyone may change."""
    return float(int(token[:8], 16))


def taken_name(token: str, name: str) -> str:
    """`.taken-TOKEN-NAME`; where that is too long NAME loses the end of its stem, never its suffix."""
    room = LONGEST_NAME - len(TAKEN_PREFIX) - len(token) - 1
    raw = os.fsencode(name)
    if len(raw) > room:
        stem, dot, suffix = raw.rpartition(b".")
        suffix = dot + suffix if stem and len(suffix) <= 16 else b""
        raw = raw[: room - len(suffix)] + suffix
    return f"{TAKEN_PREFIX}{token}-{os.fsdecode(raw)}"


def split_taken_name(taken: str) -> tuple[str, str] | None:
    """TOKEN and NAME; None for any other name."""
    match = _TAKEN.fullmatch(taken)
    return (match[1], match[2]) if match else None


def kind_of(mode: int) -> str:
    """What an entry is that is no regular file, in words."""
    kinds = {stat.S_IFLNK: "a symlink", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_taken(token: str, name: str, path: Path, terms: Terms) -> Taken | OddEntry | None:
    """What lies under a taken name, checked on the opened file; None where it is gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        why = f"{kind_of(status.st_mode)} was dropped; only regular files are taken"
        return OddEntry(token, name, why, path)
    try:
        data = _read_checked(path, terms)
    except _Faulty as error:
        return Taken(token, name, path, None, error.fault, status.st_mtime, error.why)
    return None if data is None else Taken(token, name, path, data, None, status.st_mtime)


def read_opened(token: str, name: str, path: Path, descriptor: int, terms: Terms) -> Taken:
    """As `read_taken`, by a descriptor that was opened before the file got its taken name."""
    status = os.fstat(descriptor)
    try:
        return Taken(token, name, path, _checked(status, descriptor, terms), None, status.st_mtime)
    except _Faulty as error:
        return Taken(token, name, path, None, error.fault, status.st_mtime, error.why)


def _read_checked(path: Path, terms: Terms) -> bytes | None:
    try:
        descriptor = open_untrusted(path)
    except UntrustedFile as error:
        if error.missing:
            return None
        raise _Faulty(DropFault.UNREADABLE, error.why) from error
    try:
        return _checked(os.fstat(descriptor), descriptor, terms)
    finally:
        os.close(descriptor)


def _checked(status: os.stat_result, descriptor: int, terms: Terms) -> bytes:
    """The bytes of a regular file. Raises _Faulty."""
    try:
        if not terms.droppers.may_drop(status.st_uid):
            raise _Faulty(DropFault.NOT_OWNED, f"it belongs to user {status.st_uid}; allowed are {terms.droppers}")
        if why := why_not_vouched(status, terms.openness, terms.droppers.gid):
            raise _Faulty(DropFault.NOT_VOUCHED, why)
        if status.st_size > terms.max_bytes:
            raise _too_large(status.st_size, terms)
        data = read_at_most(descriptor, terms.max_bytes + 1)
    except OSError as error:
        raise _Faulty(DropFault.UNREADABLE, f"it cannot be read: {error.strerror}") from error
    if len(data) > terms.max_bytes:
        raise _too_large(len(data), terms)
    if not data and not terms.empty_is_fine:
        raise _Faulty(DropFault.EMPTY, "it is empty")
    if data.count(0) == len(data) and not terms.empty_is_fine:
        raise _Faulty(DropFault.ALL_NUL, f"it holds nothing but {len(data)} NUL bytes")
    return data


def _too_large(size: int, terms: Terms) -> _Faulty:
    return _Faulty(DropFault.TOO_LARGE, f"it has {size} bytes; at most {terms.max_bytes} are read")
