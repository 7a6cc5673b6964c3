"""Faults of the environment: what kind an error is of, and what a person can do about it. Pure.

A fault is something that the machine refuses: no room, no right, no descriptor, no process. It is never a reason to
crash and never an agent's failure. Everything else that is raised is a bug of ours and is not caught.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from haikud.contracts.live import KIND_OF_ERRNO, FaultKind
from haikud.sandbox.trees import TreeStillAlive
from haikud.spool.models import UnreadableFile

CURES = {
    FaultKind.NO_SPACE: "free some room there (haikud prune removes finished plans), or raise the quota",
    FaultKind.READ_ONLY: "see why it was made read-only (dmesg), mend it, and mount it writable: mount -o remount,rw",
    FaultKind.PERMISSION_DENIED: "give the daemon's user the right to read and write there: chown, chmod, chattr -i",
    FaultKind.TOO_MANY_FILES: "raise LimitNOFILE or `ulimit -n` of the daemon and start it again, or lower max_agents",
    FaultKind.NO_PROCESSES: "raise TasksMax or `ulimit -u`, end other processes of that user, or lower max_agents",
    FaultKind.NO_MEMORY: "end other processes or give the daemon more memory; a lower max_agents needs less",
    FaultKind.WATCH_LIMIT: "raise it: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
    FaultKind.EVENTS_LOST: "nothing is lost; if it comes often: sysctl fs.inotify.max_queued_events=65536",
    FaultKind.CLOCK_JUMPED: "see that the time is kept (timedatectl); limits go by a clock that does not jump",
    FaultKind.IO_ERROR: "look for a failing disk (dmesg, smartctl); copy the spool away while it can be read",
    FaultKind.UNREADABLE: "stop the daemon and run: haikud doctor --repair",
    FaultKind.NO_SANDBOX: "see `haikud doctor`",
    FaultKind.OTHER: "mend what the message names",
}
"""Kind -> what a person can do."""

OF_THE_MACHINE = frozenset(
    {
        FaultKind.NO_SPACE,
        FaultKind.READ_ONLY,
        FaultKind.PERMISSION_DENIED,
        FaultKind.TOO_MANY_FILES,
        FaultKind.NO_PROCESSES,
        FaultKind.NO_MEMORY,
        FaultKind.IO_ERROR,
    }
)
"""Kinds that may concern all work, and not only the file or step where they were met."""

OF_OUR_PROCESS = frozenset({FaultKind.TOO_MANY_FILES, FaultKind.NO_PROCESSES, FaultKind.NO_MEMORY})
"""Kinds that concern all work wherever they are met: they belong to no place."""

FOR_ALL = OF_OUR_PROCESS | {FaultKind.NO_SPACE, FaultKind.READ_ONLY}
"""Kinds of which it makes no sense to try the next task."""

FAULTS = (OSError, MemoryError, UnreadableFile, TreeStillAlive)
"""What is a fault of the environment when it is raised."""

_NO_THREAD = "can't start new thread"


class NoThread(BlockingIOError):  # noqa: N818 - reads as what it is
    """The kernel refused a thread; Python raises a bare RuntimeError for that."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "no new thread can be started")


@contextmanager
def new_thread() -> Iterator[None]:
    """Start threads in here: NoThread where the kernel refuses one."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != _NO_THREAD:
            raise
        raise NoThread from error


def kind_of(error: BaseException, *, starting: bool = False) -> FaultKind:
    """The kind of an error. `starting`: a process was being started, where no memory means no process."""
    if isinstance(error, UnreadableFile):
        return FaultKind.UNREADABLE
    if isinstance(error, MemoryError):
        return FaultKind.NO_MEMORY
    if not isinstance(error, OSError):
        return FaultKind.OTHER
    if error.errno is None and isinstance(error, PermissionError):
        return FaultKind.PERMISSION_DENIED
    kind = KIND_OF_ERRNO.get(error.errno or 0, FaultKind.OTHER)
    return FaultKind.NO_PROCESSES if starting and kind is FaultKind.NO_MEMORY else kind


def describe(error: BaseException) -> str:
    """The system's own words in one line, with the path where there is one."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} ..."


_MOST_TEXT = 500
