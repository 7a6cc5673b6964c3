"""Examining the machine: whether the spool can be written, and whether files, threads and processes can be had.

A fault of the machine begins and ends with what is found here, by trying the very thing that was refused, in the
spool's own folder or in our own process. Nothing of it is left behind. Room is asked for about once a second, as an
agent may fill the disk at any time; all else only while it is suspected or lasts. Never raises OSError.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.base import utc_now
from haikud.contracts.live import FaultKind
from haikud.contracts.states import TaskState
from haikud.engine.engine import Engine
from haikud.engine.machine.faults import describe, kind_of, new_thread
from haikud.spool.layout import TOP_FOLDERS, SpoolLayout

LOOK_SECONDS = 1.0
"""How often the free room is asked for."""

WRITTEN_BYTES = 65_536
"""What is written to see whether there is room, and the least that must be free: a few decisions, a status.json."""

FILES_NEEDED = 12
"""So many descriptors must be free: a start takes about six, and its pidfd."""

JUMP_SECONDS = 5.0
"""The two clocks part by so much between two rounds: the wall clock was set, or the machine slept."""

SHOWN_SECONDS = 60.0
"""How long a jump is shown: it is over when it is noticed."""

_NOWHERE = "/haikud-looks-whether-a-process-can-be-started"
_MEMORY_BYTES = 33_554_432


@dataclass
class Machine:
    """Looks at the machine for one engine, in every round; what is looked at then is looked at once a second."""

    engine: Engine
    _look_at: float = 0.0  # monotonic seconds
    _ahead: float | None = None  # of the wall clock before the monotonic one, at the last look

    async def look(self) -> None:
        """Examine what is due, and let the log be told. Cheap when nothing is wrong: one statvfs a second."""
        engine, trouble = self.engine, self.engine.trouble
        layout, least, now = engine.layout, max(engine.settings.min_free_bytes, WRITTEN_BYTES), engine.clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            for kind, seen in look_at_filesystem(layout.root, least).items():
                if not trouble.lasts(kind):
                    trouble.found(kind, seen, doing="taking work")
            self._look_at_the_clock()
        for kind in trouble.to_examine():
            room = with_margin(least) if trouble.lasts(kind) else least
            trouble.found(kind, await engine.write(examine, kind, layout, room))
        trouble.tell()

    def _look_at_the_clock(self) -> None:
        ahead = utc_now().timestamp() - self.engine.clock()
        jump, self._ahead = ahead - (self._ahead if self._ahead is not None else ahead), ahead
        if abs(jump) >= JUMP_SECONDS:
            said = f"the wall clock went {'forward' if jump > 0 else 'back'} by {abs(jump):.0f} s at once"
            self.engine.trouble.mention(FaultKind.CLOCK_JUMPED, "keeping time", said, seconds=SHOWN_SECONDS)


def with_margin(least: int) -> int:
    """The room that must be free again before work goes on: more than what stopped it, so that it does not flap."""
    return least + least // 8


def look_at_filesystem(folder: Path, least: int) -> dict[FaultKind, str]:
    """Whether a filesystem says of itself that it is full or read-only. `least`: bytes that must be free."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return {}  # another examination says what that is
    seen: dict[FaultKind, str] = {}
    free = found.f_bavail * found.f_frsize
    if free < least:
        room = f"{free // 1024} KiB are free on the filesystem of {folder}; work needs {least // 1024} KiB"
        seen[FaultKind.NO_SPACE] = room
    elif found.f_files and not found.f_favail:
        seen[FaultKind.NO_SPACE] = f"the filesystem of {folder} has no inode left"
    if found.f_flag & os.ST_RDONLY:
        seen[FaultKind.READ_ONLY] = f"the filesystem of {folder} is mounted read-only"
    return seen


def examine(kind: FaultKind, layout: SpoolLayout, least: int) -> str | None:
    """Try what was refused: what is refused now, in words, or None where it works. On the writing thread."""
    try:
        match kind:
            case FaultKind.NO_SPACE | FaultKind.READ_ONLY | FaultKind.IO_ERROR:
                if seen := look_at_filesystem(layout.root, least).get(kind):
                    return seen
                _write_and_read(layout.root / ".examined")
            case FaultKind.PERMISSION_DENIED:
                return _denied(layout)
            case FaultKind.TOO_MANY_FILES:
                _open_files()
            case FaultKind.NO_PROCESSES:
                _start_thread()
                _start_process()
            case FaultKind.NO_MEMORY:
                bytearray(_MEMORY_BYTES)
                _start_process()
    except (OSError, MemoryError) as error:
        return describe(error) if _is_that(error, kind) else None
    return None


def _is_that(error: BaseException, kind: FaultKind) -> bool:
    """Whether an error belongs to the kind that is examined; another one is another fault's affair."""
    found = kind_of(error)
    return found is kind or {found, kind} == {FaultKind.NO_MEMORY, FaultKind.NO_PROCESSES}


def _write_and_read(path: Path) -> None:
    data = os.urandom(1024) * (WRITTEN_BYTES // 1024)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
        if os.pread(descriptor, len(data), 0) != data:
            raise OSError(errno.EIO, "what was written is not what is read", str(path))
    finally:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()


def _denied(layout: SpoolLayout) -> str | None:
    """Which folder of the spool cannot be written by us."""
    folders = [layout.root, *(layout.root / name for name in TOP_FOLDERS), *(layout.tasks / s for s in TaskState)]
    for folder in folders:
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            return f"{folder} cannot be read and written by user {os.geteuid()}"
    return None


def _open_files() -> None:
    opened: list[int] = []
    try:
        for _ in range(FILES_NEEDED):
            opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401 - what is open is closed
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _start_thread() -> None:
    thread = threading.Thread(target=lambda: None, name="haikud-examined", daemon=True)
    with new_thread():
        thread.start()
    thread.join()


def _start_process() -> None:
    # A program that is not there: the process is made all the same, and gone when this returns.
    with suppress(FileNotFoundError):
        os.posix_spawn(_NOWHERE, [_NOWHERE], {})
