"""The only room that writes what must last: a dot-name, fsync, rename, fsync of the folder.

Promises: after a return from anything named durable, a power cut leaves either the whole file or, before the return,
what was there earlier; never a part. A reader never sees a half-written file, with or without a crash. Measured on
ext4, xfs and btrfs: a rename without the fsyncs leaves an empty or a missing file.

Fails with an OSError that names the path and says what was being done; the temporary file is removed then. A failed
fsync is never followed by another one on the same file or name, which the kernel would let succeed without having
written anything: what is not known to be durable is taken back, and the next try writes a new file under a new name.

Only the standard library is imported here: a runner uses this room before it imports anything else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINK_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS})
"""Where a hard link is refused or not known; a copy or a rename does the same work there."""

_TAIL_BYTES = 65_536


@contextmanager
def doing(what: str, path: Path) -> Iterator[None]:
    """Give an OSError the path and what was being done; its subclass (FileExistsError, ...) stays."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot {what}: {error.strerror}", str(path)) from error


def write_all(descriptor: int, data: bytes) -> None:
    """All of the data, however many writes that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def begin_write_back(descriptor: int) -> None:
    """Have the kernel write a file's bytes from now on: the fsyncs of many then wait for one flush and not for each."""
    with suppress(OSError):  # it is a hint
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def temporary_beside(path: Path) -> Path:
    """A dot-name in the same folder that nobody else uses; never longer than the 255 bytes a name may have."""
    name = os.fsdecode(os.fsencode(path.name)[:200])
    return path.with_name(f".{name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")


def write_temporary(path: Path, data: bytes, mode: int, *, sync: bool, write_back: bool = False) -> Path:
    """Write a new file beside `path`, under a name that nobody else uses; that name.

    `write_back`: it is to be fsynced in a moment, with others.
    """
    temporary = temporary_beside(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            if mode != 0o600:
                os.fchmod(descriptor, mode)
            write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
            elif write_back:
                begin_write_back(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path`, replacing what is there; on return it survives a power cut."""
    with doing("write durably", path):
        is_new = not os.path.lexists(path)
        _replace(path, data, mode, sync=True)
        fsync_names(path.parent, *([path] if is_new else []))


def write_new_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """As `write_durably`, but FileExistsError where `path` exists: nothing is ever replaced."""
    with doing("write durably", path):
        temporary = write_temporary(path, data, mode, sync=True)
        try:
            put_without_replacing(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_names(path.parent, path)


def fsync_names(folder: Path, *put: Path) -> None:
    """Fsync a folder in which these names are new; they are taken back where that fails."""
    try:
        fsync_folder(folder)
    except OSError:
        for path in put:
            with suppress(OSError):
                path.unlink()
        raise


def write_quickly(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` atomically, without fsync: for what can be derived again."""
    with doing("write", path):
        _replace(path, data, mode, sync=False)


def _replace(path: Path, data: bytes, mode: int, *, sync: bool) -> None:
    """A whole new file in place of what is there; nothing is left beside it where that fails."""
    temporary = write_temporary(path, data, mode, sync=sync)
    try:
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_without_replacing(source: Path, target: Path) -> None:
    """Give `source` the name `target`; FileExistsError where that is taken. `source` may be left or gone."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in LINK_REFUSED:
            raise
        # No hard links on this filesystem. Only one daemon writes here, so looking first is enough.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        source.rename(target)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with doing("fsync the folder", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fsync_file(path: Path) -> None:
    with doing("fsync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_durable(path: Path) -> None:
    """Make what another process wrote there, and its name, survive a power cut: it may have died before it could."""
    try:
        _fsync_file(path)
        fsync_folder(path.parent)
    except OSError:
        write_durably(path, path.read_bytes())  # as a new file: the old one's next fsync would prove nothing


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder and what is missing above it, each durable; one that is there is left as it is."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent, mode)
    with doing("make the folder", path):
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            if not path.is_dir():
                raise
            return
        try:
            path.chmod(mode)  # mkdir drops the bits of the umask, and the set-group-id bit
            fsync_folder(path.parent)
        except OSError:
            with suppress(OSError):
                path.rmdir()
            raise


def remove_if_there(path: Path) -> bool:
    """Unlink a file or symlink; whether there was one. Not fsynced."""
    with doing("remove", path):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
    return True


def append_durably(path: Path, *lines: bytes) -> None:
    """Append lines (their newlines are added) and fdatasync them; the first time, the folder too.

    For files with one writer at a time, such as a transcript under its claim: a torn last line that a crash left
    behind was never acknowledged, and is cut off before the new one is written.
    """
    lines = tuple(line.removesuffix(b"\n") for line in lines)
    if any(b"\n" in line for line in lines):
        msg = f"{path}: each is to be one line"
        raise ValueError(msg)
    with doing("append durably", path):
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        try:
            end = cut_torn_tail(descriptor)
            try:
                write_all(descriptor, b"".join(line + b"\n" for line in lines))
                os.fdatasync(descriptor)
                if end == 0:  # the name may be new, or an earlier try may not have come so far
                    fsync_folder(path.parent)
            except OSError:
                with suppress(OSError):
                    if end == 0:
                        path.unlink()
                    else:  # the page that is cut here, and all after it, are written again by the next append
                        os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)


def cut_torn_tail(descriptor: int) -> int:
    """Cut a torn last line off a file of whole lines; the size afterwards."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES) if end < size else end - 1  # nearly always the last byte is the newline
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def copy_linked(source: Path, target: Path, *, copy_mode: int | None = None) -> bool:
    """Give a finished file a second name, durably; False where `target` exists, which is never overwritten.

    A hard link, or a copy where links are refused. With `copy_mode` always a copy of that mode, which takes the
    target folder's group: for folders that are opened to one.
    """
    with doing("publish", target):
        try:
            if copy_mode is None:
                try:
                    os.link(source, target, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in LINK_REFUSED:
                        raise
                else:
                    fsync_names(target.parent, target)
                    return True
            write_new_durably(target, source.read_bytes(), 0o600 if copy_mode is None else copy_mode)
        except FileExistsError:
            return False
    return True
