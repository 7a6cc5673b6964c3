"""One look at all processes: who they are, whose children, in which session, and which carry an attempt's marker.

Reads /proc directly: a look at 300 processes takes about 5 ms, and ending a tree needs many looks. A pid alone is
never trusted: a process is known by pid and start time.

A process that ended meanwhile, or that is hidden from us, is not there. Anything else that keeps us from looking (no
descriptor, no memory) raises OSError: not to have seen a process is no proof that it is gone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARKER_NAME = "HAIKUD_OUT"
"""The variable that every process of an attempt carries."""

_MARKER_START = os.fsencode(f"{MARKER_NAME}=")

_MOST_SHOWN = 160
_PART = 65_536

_WALL = 0x4000_0000  # __WALL of linux/wait.h: also children that do not end with SIGCHLD

_NOT_THERE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What /proc answers about a process that has ended or that is another user's."""


@dataclass(frozen=True)
class Seen:
    """A process as it was at one look."""

    pid: int
    started: int  # clock ticks since boot
    parent: int
    group: int
    session: int
    alive: bool  # False: a zombie, dead but not reaped

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from a later process with the same pid."""
        return self.pid, self.started


def look_at(pid: int) -> Seen | None:
    """One process, or None where there is none of that pid (any more)."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except _NOT_THERE:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    state, threads = fields[0], int(fields[17])
    # A process whose first thread has ended while others run shows as a zombie too.
    alive = state not in {b"Z", b"X"} or threads > 1
    parent, group, session = (int(field) for field in fields[1:4])
    return Seen(pid, int(fields[19]), parent, group, session, alive)


def look_at_all() -> dict[int, Seen]:
    """Every process, by pid."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 -- names only, many times a second
    return {pid: seen for pid in pids if (seen := look_at(pid)) is not None}


def carries_marker(pid: int, marker: str) -> bool:
    """Whether the process was started with HAIKUD_OUT=marker; False where we may not read its environment."""
    return marker_entry(marker) in (marker_entries(pid) or ())


def marker_entry(marker: str) -> bytes:
    """How an environment says it."""
    return os.fsencode(f"{MARKER_NAME}={marker}")


def marker_entries(pid: int) -> list[bytes] | None:
    """What the process says of the marker; None where it shows an environment without anything in it.

    So does, for a moment, who executes another program: the new memory is there before what it begins with.
    """
    shown = _environment(pid)
    return None if shown == [b""] else [entry for entry in shown if entry.startswith(_MARKER_START)]


def marked_beneath(folder: Path) -> dict[int, str]:
    """Pid -> marker, of every living process (ourselves excepted) whose marker is a path beneath `folder`."""
    start = os.fsencode(f"{MARKER_NAME}={folder}/")
    found: dict[int, str] = {}
    for pid, seen in look_at_all().items():
        if pid == os.getpid() or not seen.alive:
            continue
        for entry in _environment(pid):
            if entry.startswith(start):
                found[pid] = os.fsdecode(entry.partition(b"=")[2])
    return found


def _environment(pid: int) -> list[bytes]:
    """What the process was started with, `NAME=VALUE` each; nothing where it has ended or is hidden."""
    try:
        return _read(f"/proc/{pid}/environ").split(b"\0")
    except _NOT_THERE:
        return []


def _read(path: str) -> bytes:
    """All of a file of /proc, by as few system calls as there can be: a look at all processes opens hundreds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _PART):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def command_line(pid: int) -> bytes:
    """Its arguments, each ended by a NUL; nothing where it has none, has ended or is hidden."""
    try:
        return _read(f"/proc/{pid}/cmdline")
    except _NOT_THERE:
        return b""


def holds_lock(pid: int, path: Path) -> bool:
    """Whether the process has a descriptor through which that file is locked by flock. Merely reading it is none."""
    try:
        wanted = path.lstat()
        descriptors = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 -- names only
    except (*_NOT_THERE, NotADirectoryError):
        return False
    for name in descriptors:
        with contextlib.suppress(*_NOT_THERE):
            if os.path.samestat(Path(f"/proc/{pid}/fd/{name}").stat(), wanted):
                lines = Path(f"/proc/{pid}/fdinfo/{name}").read_bytes().splitlines()
                if any(line.startswith(b"lock:") and b"FLOCK" in line for line in lines):
                    return True
    return False


def own_children() -> set[int]:
    """The pids of our children, zombies included. An empty answer is reliable: no child is missed."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:  # nothing to wait for, of whatever kind
        return set()
    if not _tells_children():
        mine = os.getpid()
        return {pid for pid, seen in look_at_all().items() if seen.parent == mine}
    children: set[int] = set()
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 -- names only
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # that thread has ended
            children.update(map(int, _read(f"/proc/self/task/{thread}/children").split()))
    return children


@functools.cache
def _tells_children() -> bool:
    """Whether this kernel was built with CONFIG_PROC_CHILDREN."""
    return Path("/proc/thread-self/children").exists()


def has_children(pid: int) -> bool:
    """Whether that process has any, zombies included; unknown counts as yes."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 -- names only
        return any(Path(f"/proc/{pid}/task/{thread}/children").read_bytes().strip() for thread in threads)
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it has ended, or a kernel without CONFIG_PROC_CHILDREN
        return look_at(pid) is not None


def send_signal(seen: Seen, number: signal.Signals) -> None:
    """Signal exactly that process, never a later one of the same pid. One that is gone is fine.

    A process that we may not signal (it changed its user) is left to the proof at the end, which will find it.
    """
    try:
        descriptor = os.pidfd_open(seen.pid)
    except ProcessLookupError:
        return
    try:
        now = look_at(seen.pid)
        if now is not None and now.key == seen.key:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group in one stroke: no member can fork its way out meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def reap(pids: Iterable[int]) -> None:
    """Take the exit status of those of our children that have ended, so that they don't stay as zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def describe(pid: int) -> str:
    """The process for people: `PID COMMAND LINE`, without control characters, cut."""
    words = ""
    with contextlib.suppress(OSError):
        words = in_words(command_line(pid))
    if not words:
        with contextlib.suppress(OSError):
            words = in_words(b"[%s]" % Path(f"/proc/{pid}/comm").read_bytes().strip())
    return f"{pid} {words}".strip()


def in_words(command_line: bytes) -> str:
    """A command line, its arguments ended by NULs, as `describe` shows it."""
    words = command_line.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else "?" for char in words)[:_MOST_SHOWN].strip()


def describe_tree(marker: str, *, but: int) -> list[str]:
    """The living processes that carry the marker, for people: `PID AGEs COMMAND LINE`, the oldest first."""
    members = [
        seen for seen in look_at_all().values() if seen.alive and seen.pid != but and carries_marker(seen.pid, marker)
    ]
    now, ticks = time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK")
    shown = ((seen, describe(seen.pid).partition(" ")[2]) for seen in sorted(members, key=lambda one: one.started))
    return [f"{seen.pid} {max(0.0, now - seen.started / ticks):.0f} s {words}" for seen, words in shown]
