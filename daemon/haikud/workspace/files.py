"""Files of the workspace room: atomic writes, and reading and clearing what an agent may have written.

Nothing here follows a symlink that an agent could have placed at the path's last part, opens anything but regular
files, or waits on a FIFO.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 3500
"""Bytes of a path that still leave room for a name: the kernel takes 4095."""


def write_atomically(
    path: Path, data: bytes, mode: int = 0o644, *, beside: Path | None = None, durable: bool = True
) -> None:
    """Replace `path` by a file with this content, durably unless told otherwise.

    The temporary file lies in `path`'s folder, or in `beside`, a folder of the same filesystem.
    """
    _replace(path, data, mode, beside or path.parent, durable=durable)
    if durable:
        sync_folder(path.parent)


def write_quickly(path: Path, data: bytes, mode: int = 0o600) -> None:
    """The same without waiting for the disk, for what is made again after a power cut."""
    _replace(path, data, mode, path.parent, durable=False)


def create_whole(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Create `path` with this content, durably and in one step; False where it exists already.

    One writer at a time, as for the others here: what a killed one left is taken out of the way by the next.
    """
    temporary = temporary_of(path, path.parent)
    remove_entry(temporary)
    _write_new(temporary, data, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return True


def write_ahead(path: Path, data: bytes, mode: int = 0o644) -> Path:
    """The first half of `write_atomically`: the temporary file, not durable yet. `put_ahead` is the other half."""
    temporary = temporary_of(path, path.parent)
    remove_entry(temporary)
    _write_new(temporary, data, mode, durable=False)
    return temporary


def put_ahead(path: Path) -> None:
    """Replace `path` by what was written ahead, and has been made durable since."""
    temporary_of(path, path.parent).rename(path)
    sync_folder(path.parent)


def _replace(path: Path, data: bytes, mode: int, folder: Path, *, durable: bool) -> None:
    temporary = temporary_of(path, folder)
    remove_entry(temporary)
    _write_new(temporary, data, mode, durable=durable)
    temporary.rename(path)


def temporary_of(path: Path, folder: Path) -> Path:
    """The name in `folder` under which `path` is written first."""
    return folder / f".{path.parent.name}.{path.name.lstrip('.')}.haikud-new"


def _write_new(path: Path, data: bytes, mode: int, *, durable: bool = True) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_small(path: Path, most: int = 65_536) -> bytes | None:
    """The content of a regular file of at most `most` bytes; None for anything else, a symlink included."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
            return None
        parts = []
        while part := os.read(fd, most):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def is_folder(path: Path) -> bool:
    """Whether it is a real folder: a symlink to one is not."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Whether anything bears this name, a dangling symlink included."""
    return os.path.lexists(path)


def remove_entry(path: Path) -> None:
    """Remove whatever bears this name; a symlink itself, never what it names. Nothing there is fine."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # a folder, by the kernel or by POSIX
        if not is_folder(path):
            raise
        remove_folder(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep an agent has made it, and whatever its permissions are.

    Build caches are often read-only. Nobody writes there meanwhile.
    """
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        _open_up(folder, folder.lstat().st_mode)
        top = os.open(folder, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        folder.rmdir()


def _empty(top: int) -> None:
    """Remove all that is in this folder: each one beneath is moved up into it first, so that no path is ever long."""
    prefix, number, waiting = f".haikud-removed-{os.urandom(8).hex()}", 0, ["."]
    while waiting:
        here = waiting.pop()
        within = os.open(here, _FOLDER, dir_fd=top)
        try:
            with os.scandir(within) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
            for name, mode in found:
                if not stat.S_ISDIR(mode):
                    os.unlink(name, dir_fd=within)
                    continue
                number += 1
                _open_up(name, mode, within)
                os.rename(name, f"{prefix}-{number}", src_dir_fd=within, dst_dir_fd=top)
                waiting.append(f"{prefix}-{number}")
        finally:
            os.close(within)
        if here != ".":
            os.rmdir(here, dir_fd=top)


def _open_up(folder: Path | str, mode: int, within: int | None = None) -> None:
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        os.chmod(folder, 0o700, dir_fd=within)


def drop_odd_entries(folder: Path) -> list[str]:
    """Remove all symlinks, FIFOs, sockets and devices beneath a folder; the paths removed, relative to it.

    git would follow or wait on these. Folders that we cannot enter are opened up; those too deep for a path, which git
    itself cannot have made, are removed.
    """
    odd: list[str] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if len(os.fsencode(here)) > _LONGEST:
            odd.append(os.path.relpath(here, folder))
            remove_folder(here)
            continue
        if here.stat().st_mode & 0o700 != 0o700:
            here.chmod(0o700)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink()
                    odd.append(os.path.relpath(entry.path, folder))
    return odd


def move_aside(path: Path, towards: Path, suffix: str) -> Path:
    """Rename `path` to the first free `towards` + `suffix` + N; across filesystems it is copied, links as links."""
    number = 1
    while is_there(target := towards.with_name(f"{towards.name}{suffix}{number}")):
        number += 1
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if is_folder(path):
            drop_odd_entries(path)
        elif not path.is_symlink() and not path.is_file():
            path.unlink()  # a FIFO or socket holds nothing that could be kept
            return target
        shutil.move(path, target)
    return target


_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules"})


def remove_pipes(folder: Path) -> tuple[list[str], list[Path]]:
    """Take away what git would open beneath the folder and wait on for ever; the names. Nobody writes there meanwhile.

    Git reads these files wherever they lie, and asks of none what it is. A lock that it holds meanwhile is everybody's.
    What is returned second is every `.git` that was found, but the folder's own.
    """
    removed: list[str] = []
    nested: list[Path] = []
    left = [os.fspath(folder)]
    while left:
        here = left.pop()
        with contextlib.suppress(OSError), os.scandir(here) as entries:  # a path too long is so for git too
            for entry in entries:
                if entry.name == ".git":
                    nested += [Path(entry.path)] if here != os.fspath(folder) else []
                elif entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                elif entry.name in _READ_BY_GIT and not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                    os.unlink(entry.path)  # noqa: PTH108 -- these are many
                    removed.append(os.path.relpath(entry.path, folder))
    return sorted(removed), nested
