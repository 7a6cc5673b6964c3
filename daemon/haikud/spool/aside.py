"""Setting a dropped file aside: into rejected/, byte for byte, under a name that is safe to print and free.

Two halves, so that the reason can be durable between them: `place_aside` finds the name, and gives it to a regular
file beside its taken one; `leave_folder` takes the old name away, or moves what is no regular file (never opened).

Promises: nothing that lies in rejected/ is ever replaced; each half may be repeated after a crash and then finds what
it had done. Fails with OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from haikud.spool.durable import LINK_REFUSED, fsync_folder, remove_if_there, write_new_durably
from haikud.spool.reading import UntrustedFile, read_untrusted
from haikud.spool.renaming import rename_without_replacing

REASON_SUFFIX = ".reason.json"
ODD_PREFIX = ".odd-"
LONGEST_STORED_NAME = 200
"""So that a number and `.reason.json` fit behind it."""

MOST_COPIED_BYTES = 4 * 1024 * 1024
"""A larger file that may not be linked is moved by rename."""

MOST_NUMBERS = 20
"""Tried before the token makes the name: the same name over and over again must not make each try longer."""

_CANNOT_LEAVE = frozenset({errno.EACCES, errno.EPERM, errno.EXDEV, errno.EBUSY})


def stored_name(name: str) -> str:
    """A dropped name in printable ASCII, everything else `_`; not hidden, no option, no reason's name, not too long."""
    safe = "".join(c if "!" <= c <= "~" and c not in "/\\" else "_" for c in name)
    if safe[:1] in {".", "-", "~"}:
        safe = f"_{safe[1:]}"
    if safe.endswith(REASON_SUFFIX):
        safe = f"{safe.removesuffix(REASON_SUFFIX)}.reason_.json"
    if len(safe) > LONGEST_STORED_NAME:
        suffix = Path(safe).suffix
        suffix = suffix if len(suffix) <= 16 else ""
        safe = safe[: LONGEST_STORED_NAME - len(suffix)] + suffix
    return safe or "_"


def reason_path(rejected: Path, stored: str) -> Path:
    """Where the reason for a file set aside is written."""
    return rejected / f"{stored}{REASON_SUFFIX}"


def candidates(name: str, token: str) -> Iterator[str]:
    """The names that a file dropped as `name` may get in rejected/, the best first; the last one is its alone."""
    first = stored_name(name)
    yield first
    stem, suffix = Path(first).stem, Path(first).suffix
    for number in range(1, MOST_NUMBERS):
        yield f"{stem}.{number}{suffix}"
    yield f"{stem}.{token}{suffix}"


def place_aside(path: Path, name: str, token: str, rejected: Path) -> str:
    """The name in rejected/ for `path`, dropped as `name`. A regular file lies there too from now on, if it can."""
    is_file = stat.S_ISREG(path.lstat().st_mode)
    for stored in candidates(name, token):
        target = rejected / stored
        if os.path.lexists(reason_path(rejected, stored)):
            continue
        if is_file and (_is_same_file(path, target) or _is_copy(path, target)):  # an earlier call was cut short
            break
        if os.path.lexists(target):
            continue
        if is_file:
            _place_file(path, target)
        break
    fsync_folder(rejected)
    return stored


def leave_folder(path: Path, stored: str, token: str, rejected: Path) -> str:
    """`path` goes from its drop folder; where it lies now, from rejected/ seen. Does nothing where it is gone.

    What may not be moved out (another user's folder, a mount) becomes FOLDER/.odd-TOKEN, which scans leave alone.
    """
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return stored
    target = rejected / stored
    if is_file and os.path.lexists(target):
        remove_if_there(path)
        return stored
    try:
        rename_without_replacing(path, target)
    except OSError as error:
        if error.errno not in _CANNOT_LEAVE:
            raise
        hidden = path.with_name(f"{ODD_PREFIX}{token}")
        path.rename(hidden)
        return f"../{path.parent.name}/{hidden.name}"
    fsync_folder(rejected)
    return stored


def _is_same_file(path: Path, target: Path) -> bool:
    try:
        return os.path.samestat(path.lstat(), target.lstat())
    except FileNotFoundError:
        return False


def _is_copy(path: Path, target: Path) -> bool:
    """Whether a file without a reason is the copy that an earlier call made."""
    try:
        if target.lstat().st_size != path.lstat().st_size or path.lstat().st_size > MOST_COPIED_BYTES:
            return False
        return read_untrusted(path, MOST_COPIED_BYTES) == read_untrusted(target, MOST_COPIED_BYTES)
    except (UntrustedFile, FileNotFoundError):
        return False


def _place_file(path: Path, target: Path) -> None:
    """Give it its second name. Another user's file may not be linked (protected_hardlinks): a copy, if it is small."""
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in LINK_REFUSED:
            raise
        try:
            data = read_untrusted(path, MOST_COPIED_BYTES)
        except UntrustedFile:
            return  # it is moved by rename, in the second half
        write_new_durably(target, data)
