"""Claims: the kernel lock that a runner holds as long as it lives, and who that runner is.

Promises: at most one process holds a claim; the kernel frees it when that process dies, however it dies. A free claim
means that the runner is gone, not that its process tree is; and not even that where an unconfined agent has put
another file in its place. So a runner also says who it is, twice: in runner.json and in its command line, which no
other process can take from it. A pid alone is never trusted: the start time and the boot id go with it, so that a pid
used again, or a reboot, is not mistaken for the runner.

Fails with an OSError that names the path. A claim that someone else holds is no failure: None. A look that the machine
refuses (no descriptor left, no access) finds nobody dead: its answer is "unknown".

Only the standard library is imported here: a runner uses this room before it imports anything else.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import select
import time
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from haikud.spool.durable import write_quickly
from haikud.spool.reading import UntrustedFile, read_untrusted

_MOST_IDENTITY_BYTES = 65_536

_MOST_PID = 4_194_304  # PID_MAX_LIMIT of linux/threads.h

_NO_CLAIM = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM})
"""What a claim answers that is not there, or in whose place something else lies: nobody holds that."""


class Life(Enum):
    """What a look at a process found."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"  # the machine refused the look: look again later


class Identity(NamedTuple):
    """A process that cannot be mistaken for another one."""

    pid: int
    start_time: int  # field 22 of /proc/PID/stat: clock ticks since boot
    boot_id: str


def take_claim(path: Path) -> int | None:
    """Lock the claim, made if missing; its descriptor (not inheritable), or None where someone holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_no_claim(error: OSError) -> bool:
    """Whether `take_claim` failed because no claim is in its place, rather than because the machine refuses."""
    return error.errno in _NO_CLAIM


def look_at_claim(path: Path) -> Life:
    """ALIVE where someone holds the claim, GONE where nobody does or none is in its place. For the daemon only."""
    try:
        claim = take_claim(path)
    except OSError as error:
        return Life.GONE if is_no_claim(error) else Life.UNKNOWN
    if claim is None:
        return Life.ALIVE
    release_claim(claim)
    return Life.GONE


def release_claim(descriptor: int) -> None:
    """Close our descriptor. The lock is free once no process has one of its copies open."""
    os.close(descriptor)


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold blanks and brackets; None: no such process."""
    try:
        text = _read_proc(f"/proc/{pid}/stat").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return fields if len(fields) > 19 else None


def process_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none of that pid."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields is not None else None


def boot_id() -> str:
    """This boot of the machine."""
    return _read_proc("/proc/sys/kernel/random/boot_id").decode("ascii").strip()


def _read_proc(path: str) -> bytes:
    """A small file of /proc, which is read in one piece."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def own_identity() -> Identity:
    """The calling process."""
    pid = os.getpid()
    start_time = process_start_time(pid)
    if start_time is None:
        msg = f"/proc/{pid}/stat cannot be read: haikud needs /proc"
        raise OSError(msg)
    return Identity(pid, start_time, boot_id())


def write_runner_identity(path: Path, version: str, cgroup: str = "") -> None:
    """Write runner.json for the calling process. Not fsynced: after a power cut it means nothing anyway.

    `cgroup`: the folder of the attempt's own cgroup, where the process has entered it. `began`, seconds since boot: the
    attempt began then, while its process may have been forked long before.
    """
    began = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) / 1000  # rounded down: never in times to come
    record = {**own_identity()._asdict(), "version": version, "cgroup": cgroup, "began": began}
    write_quickly(path, json.dumps(record).encode() + b"\n")  # on one line: indenting is Python's own slow half


def parse_identity(data: bytes) -> Identity | None:
    """The identity in a record's JSON; None where it holds none."""
    try:
        record = json.loads(data)
        found = Identity(int(record["pid"]), int(record["start_time"]), str(record["boot_id"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if 0 < found.pid <= _MOST_PID else None


def read_runner_identity(path: Path) -> Identity | None:
    """Who runner.json names; None where the runner never wrote it, or something else is in its place."""
    try:
        return parse_identity(read_untrusted(path, _MOST_IDENTITY_BYTES))
    except UntrustedFile:
        return None


def read_runner_cgroup(path: Path) -> str | None:
    """The cgroup that runner.json names; None where it names none. To be checked: an agent may have written it."""
    try:
        found = json.loads(read_untrusted(path, _MOST_IDENTITY_BYTES))["cgroup"]
    except (UntrustedFile, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) and found else None


def read_runner_age(path: Path, pid: int) -> float | None:
    """For how many seconds that runner has been at its attempt, by the kernel's clock; None where it is gone.

    What its runner.json says counts where it can be: not before the process was there, nor in times to come.
    """
    started = process_start_time(pid)
    if started is None:
        return None
    now, oldest = time.clock_gettime(time.CLOCK_BOOTTIME), started / os.sysconf("SC_CLK_TCK")
    try:
        record = json.loads(read_untrusted(path, _MOST_IDENTITY_BYTES))
        began = float(record["began"]) if record["pid"] == pid else oldest
    except (UntrustedFile, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        began = oldest
    return max(0.0, now - (began if oldest <= began <= now else oldest))


def runner_title(ref: str, folder: Path) -> str:
    """A runner's command line, as it shows it: the ref for people, the attempt's folder for the next daemon."""
    return f"haikud-agent {ref} {folder}"


def names_attempt(command_line: bytes, folder: Path) -> bool:
    """Whether that is the command line of the attempt's runner: its title, or its arguments before it has one."""
    arguments = command_line.rstrip(b"\0").split(b"\0")
    place = os.fsencode(folder)
    if len(arguments) == 1:
        return arguments[0].startswith(b"haikud-agent ") and arguments[0].endswith(b" " + place)
    return any(pair == (b"--attempt", place) for pair in itertools.pairwise(arguments))


def is_alive(identity: Identity) -> bool:
    """Whether that very process is known to live. One that only waits to be reaped does not: its locks are free."""
    return look_at_identity(identity) is Life.ALIVE


def look_at_identity(identity: Identity) -> Life:
    """Whether that very process lives, as far as we can see."""
    try:
        if identity.boot_id != boot_id():
            return Life.GONE
        fields = _stat_fields(identity.pid)
    except OSError:
        return Life.UNKNOWN
    if fields is None:
        return Life.GONE
    same = int(fields[19]) == identity.start_time and fields[0] not in {"Z", "X", "x"}
    return Life.ALIVE if same else Life.GONE


def watch_identity(identity: Identity) -> tuple[Life, int | None]:
    """Whether that very process lives, and then its pidfd, for the caller to close."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return Life.GONE, None
    except OSError:
        return Life.UNKNOWN, None
    life = look_at_identity(identity)  # asked after pidfd_open: the pid cannot be used again meanwhile
    if life is Life.ALIVE:
        return life, pidfd
    # A mount of /proc may hide processes (hidepid): then /proc says gone while the pidfd says that one lives.
    hidden = life is Life.GONE and not os.path.exists(f"/proc/{identity.pid}") and _has_not_ended(pidfd)  # noqa: PTH110 -- never raises
    os.close(pidfd)
    return (Life.UNKNOWN if hidden else life), None


def _has_not_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return not poller.poll(0)
