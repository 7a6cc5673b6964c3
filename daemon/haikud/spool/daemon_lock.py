"""One daemon per spool: the flock on daemon.lock, and who holds it.

Promises: the kernel frees the lock with the process, so that no lock file is ever stale. Its content names the holder
for people and for lookers, who never take the lock. Fails with SpoolIsTaken, which names the holder, and with OSError.
"""

from __future__ import annotations

import fcntl
import json
import os
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

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self._path = path

    def holds(self) -> bool:
        """Whether the spool's lock file is still the one that we locked; else another daemon may serve the spool."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another daemon have the spool. A second call does nothing."""
        if self._descriptor is not None:
            with suppress(OSError):  # on a disk that is read-only by now; the lock itself is the kernel's
                _write(self._descriptor, {})
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_daemon_lock(layout: SpoolLayout) -> DaemonLock:
    """Take the lock, for this process; SpoolIsTaken where another daemon has it."""
    descriptor = os.open(layout.lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = parse_identity(os.pread(descriptor, _MOST_BYTES, 0))
        os.close(descriptor)
        raise SpoolIsTaken(layout, holder.pid if holder else None) from error
    except BaseException:
        os.close(descriptor)
        raise
    try:
        _write(descriptor, {**own_identity()._asdict(), "started_at": format_time(utc_now()), "version": __version__})
    except BaseException:
        os.close(descriptor)
        raise
    return DaemonLock(descriptor, layout.lock_file)


def daemon_pid(layout: SpoolLayout) -> int | None:
    """The pid of the daemon that serves this spool; None where none is alive. A look, without the lock."""
    try:
        data = layout.lock_file.read_bytes()[:_MOST_BYTES]
    except FileNotFoundError:
        return None
    holder = parse_identity(data)
    return holder.pid if holder and is_alive(holder) else None


def _write(descriptor: int, content: dict[str, object]) -> None:
    """Replace the content in place: the lock is on this inode. Blanks fill up, so that no reader sees a gap."""
    data = json.dumps(content).encode()
    os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size - 1) + b"\n", 0)
