"""Claims: the kernel lock that a runner holds as long as it lives, and who that runner is.

Promises: at most one process holds a claim; the kernel frees it when that process dies, however it dies. A free claim
means that the runner is gone, not that its process tree is. A pid alone is never trusted: the start time and the
boot id go with it, so that a pid used again, or a reboot, is not mistaken for the runner.

Fails with an OSError that names the path. A claim that someone else holds is no failure: None.

Only the standard library is imported here: a runner uses this room before it imports anything else.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

from haikud.spool.durable import write_quickly
from haikud.spool.reading import UntrustedFile, read_untrusted

_MOST_IDENTITY_BYTES = 65_536


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


def release_claim(descriptor: int) -> None:
    """Close our descriptor. The lock is free once no process has one of its copies open."""
    os.close(descriptor)


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold blanks and brackets; None: no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def process_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none of that pid."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields and len(fields) > 19 else None


def boot_id() -> str:
    """This boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def own_identity() -> Identity:
    """The calling process."""
    pid = os.getpid()
    start_time = process_start_time(pid)
    if start_time is None:
        msg = f"/proc/{pid}/stat cannot be read: haikud needs /proc"
        raise OSError(msg)
    return Identity(pid, start_time, boot_id())


def write_runner_identity(path: Path, version: str) -> None:
    """Write runner.json for the calling process. Not fsynced: after a power cut it means nothing anyway."""
    record = {**own_identity()._asdict(), "version": version}
    write_quickly(path, json.dumps(record, indent=2).encode() + b"\n")


def parse_identity(data: bytes) -> Identity | None:
    """The identity in a record's JSON; None where it holds none."""
    try:
        record = json.loads(data)
        return Identity(int(record["pid"]), int(record["start_time"]), str(record["boot_id"]))
    except (ValueError, KeyError, TypeError):
        return None


def read_runner_identity(path: Path) -> Identity | None:
    """Who runner.json names; None where the runner never wrote it, or it cannot be read."""
    try:
        return parse_identity(read_untrusted(path, _MOST_IDENTITY_BYTES))
    except UntrustedFile:
        return None


def is_alive(identity: Identity) -> bool:
    """Whether that very process still lives. One that only waits to be reaped does not: its locks are free."""
    if identity.pid <= 0 or identity.boot_id != boot_id():
        return False
    fields = _stat_fields(identity.pid)
    if not fields or len(fields) <= 19:
        return False
    return int(fields[19]) == identity.start_time and fields[0] not in {"Z", "X", "x"}
