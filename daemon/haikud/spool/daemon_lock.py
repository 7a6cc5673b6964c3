"""One daemon per spool: the flock on the spool's folder and on daemon.lock, and who holds them.

Promises: the kernel frees the locks with the process, so that no lock is ever stale. The folder's is the one that
counts: whoever removes or replaces daemon.lock lets no second daemon in, and every path to the folder (a symlink, a
bind mount) leads to it. The file's content names the holder for people and for lookers, who never take a lock; the
holder makes it anew where it was removed. Fails with SpoolIsTaken, which names the holder, and with OSError.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from haikud import __version__
from haikud.contracts.times import format_time, utc_now
from haikud.spool.claims import is_alive, own_identity, parse_identity
from haikud.spool.layout import SpoolLayout

_MOST_BYTES = 4096


class SpoolIsTaken(Exception):  # noqa: N818 - reads as what it is
    """Another daemon serves this spool."""

    def __init__(self, layout: SpoolLayout, pid: int | None) -> None:
        who = f"the daemon with pid {pid}" if pid else "another daemon"
        super().__init__(
            f"{layout.root} is served by {who} already: stop it with `haikud stop --spool {layout.root}`, "
            "or name another directory with --spool"
        )
        self.pid = pid


class DaemonLock:
    """The lock, held until `release()`, the end of a `with` block, or the end of the process."""

    def __init__(self, layout: SpoolLayout, folder: int | None, file: int) -> None:
        self._layout = layout
        self._folder = folder  # None where the filesystem locks no folders
        self._file: int | None = file

    def holds(self) -> bool:
        """Whether the spool is still the one that we locked; else another daemon may serve it.

        A lock file that was removed or replaced is made anew, where the folder's lock keeps every other daemon out.
        """
        if self._file is None:
            return False
        try:
            if self._folder is not None and not os.path.samestat(os.fstat(self._folder), self._layout.root.stat()):
                return False
            if os.path.samestat(os.fstat(self._file), self._layout.lock_file.lstat()):
                if parse_identity(os.pread(self._file, _MOST_BYTES, 0)) != own_identity():
                    _write_identity(self._file)
                return True
        except FileNotFoundError:
            pass
        return self._folder is not None and self._layout.root.is_dir() and self._lock_anew()

    def release(self) -> None:
        """Let another daemon have the spool. A second call does nothing."""
        if self._file is not None:
            with suppress(OSError):  # on a disk that is read-only by now; the lock itself is the kernel's
                _write(self._file, {})
            os.close(self._file)
            self._file = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def _lock_anew(self) -> bool:
        path = self._layout.lock_file
        if not stat.S_ISREG(_mode(path)):
            with suppress(FileNotFoundError):
                path.rename(path.with_name(f".{path.name}.replaced-{secrets.token_hex(4)}"))
        fresh = _lock_file(path)
        if fresh is None:
            return False
        old, self._file = self._file, fresh
        if old is not None:
            os.close(old)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_daemon_lock(layout: SpoolLayout) -> DaemonLock:
    """Take the lock, for this process; SpoolIsTaken where another daemon has it."""
    folder, file = _lock_folder(layout), None
    try:
        file = _lock_file(layout.lock_file)
    finally:
        if file is None and folder is not None:
            os.close(folder)
    if file is None:
        raise SpoolIsTaken(layout, lock_holder(layout))
    return DaemonLock(layout, folder, file)


def _lock_folder(layout: SpoolLayout) -> int | None:
    """The spool's folder, locked; None where the filesystem locks no folders (NFS). SpoolIsTaken."""
    descriptor = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolIsTaken(layout, lock_holder(layout)) from error
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _lock_file(path: Path) -> int | None:
    """The lock file, locked, with our name in it; None where someone else has locked it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_identity(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock_holder(layout: SpoolLayout) -> int | None:
    """The pid that holds the lock: the kernel's word, the folder's lock first; else what the lock file says."""
    holders: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            parts = line.split()
            if len(parts) > 5 and parts[1] == "FLOCK" and int(parts[4]) > 0:
                holders[parts[5]] = int(parts[4])
    for path in (layout.root, layout.lock_file):
        with suppress(OSError):
            status = path.stat()
            place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            if place in holders:
                return holders[place]
    return daemon_pid(layout)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return stat.S_IFREG


def daemon_pid(layout: SpoolLayout) -> int | None:
    """The pid of the daemon that serves this spool; None where none is alive. A look, without the lock."""
    try:
        data = layout.lock_file.read_bytes()[:_MOST_BYTES]
    except FileNotFoundError:
        return None
    holder = parse_identity(data)
    return holder.pid if holder and is_alive(holder) else None


def _write_identity(descriptor: int) -> None:
    _write(descriptor, {**own_identity()._asdict(), "started_at": format_time(utc_now()), "version": __version__})


def _write(descriptor: int, content: dict[str, object]) -> None:
    """Replace the content in place: the lock is on this inode. Blanks fill up, so that no reader sees a gap."""
    data = json.dumps(content).encode()
    os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size - 1) + b"\n", 0)
