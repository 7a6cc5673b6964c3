"""Setting a dropped file aside: into rejected/, byte for byte, under a name that is safe to print and free.

Promises: nothing that lies in rejected/ is ever replaced; a move that a crash cut short is found and finished by the
next call. What is no regular file is moved by rename and never opened.

Fails with OSError.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from haikud.spool.durable import LINK_REFUSED, fsync_folder, remove_if_there, write_new_durably
from haikud.spool.reading import UntrustedFile, read_untrusted

REASON_SUFFIX = ".reason.json"
ODD_PREFIX = ".odd-"
LONGEST_STORED_NAME = 200
"""So that a number and `.reason.json` fit behind it."""

MOST_COPIED_BYTES = 64 * 1024 * 1024
"""A larger file that may not be linked is moved by rename."""


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


def _candidates(name: str) -> Iterator[str]:
    first = stored_name(name)
    yield first
    stem, suffix = Path(first).stem, Path(first).suffix
    for number in range(1, 20):
        yield f"{stem}.{number}{suffix}"
    while True:  # the same name over and over again: numbers would make each try longer
        yield f"{stem}.{secrets.token_hex(6)}{suffix}"


def move_aside(path: Path, name: str, rejected: Path, *, keep: bool = False) -> str:
    """Move `path`, dropped as `name`, into rejected/; its name there.

    With `keep` a regular file stays under its old name too, until the caller has recorded why. A folder that may not
    be moved out (another user's) becomes FOLDER/.odd-..., which scans leave alone; the name says so then.
    """
    mode = path.lstat().st_mode
    for stored in _candidates(name):
        target = rejected / stored
        if stat.S_ISREG(mode):
            placed = _is_same_file(path, target) or (_is_free(rejected, stored) and _place_file(path, target))
        else:
            try:
                placed = _is_free(rejected, stored) and _place_by_rename(path, target, folder=stat.S_ISDIR(mode))
            except PermissionError:
                hidden = path.with_name(f"{ODD_PREFIX}{secrets.token_hex(8)}")
                path.rename(hidden)
                return f"../{path.parent.name}/{hidden.name}"
        if placed:
            fsync_folder(rejected)
            if not keep:
                remove_if_there(path)
            return stored
    raise AssertionError  # the candidates never end


def _is_free(rejected: Path, stored: str) -> bool:
    return not os.path.lexists(rejected / stored) and not os.path.lexists(reason_path(rejected, stored))


def _is_same_file(path: Path, target: Path) -> bool:
    """Whether an earlier call has put it there already and was cut short."""
    try:
        return os.path.samestat(path.lstat(), target.lstat())
    except FileNotFoundError:
        return False


def _place_file(path: Path, target: Path) -> bool:
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in LINK_REFUSED:
            raise
        return _place_copy(path, target)
    return True


def _place_copy(path: Path, target: Path) -> bool:
    """Another user's file may not be linked: the kernel's protected_hardlinks."""
    try:
        data = read_untrusted(path, MOST_COPIED_BYTES)
    except UntrustedFile:
        return _place_by_rename(path, target, folder=False)
    try:
        write_new_durably(target, data)
    except FileExistsError:
        return False
    return True


def _place_by_rename(path: Path, target: Path, *, folder: bool) -> bool:
    """Rename without replacing: the name is reserved first, by what a rename may replace."""
    try:
        if folder:
            target.mkdir(mode=0o700)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    try:
        path.rename(target)
    except OSError:
        target.rmdir() if folder else target.unlink()
        raise
    return True
