"""The gateway's files: who serves them, tokens of attempts that are over, lines of the journal that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from haikud.contracts.live import GatewayStatus, LiveStatus
from haikud.contracts.usage_journal import JournalLine
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.upkeep.findings import Code, Finding, fault, ok
from haikud.engine.upkeep.look import Locks, Look
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout
from haikud.spool.legal_names import Standing
from haikud.spool.models import UnreadableFile, read_model


def check_gateway(layout: SpoolLayout) -> Iterator[Finding]:
    """Whether one runs, by the kernel's list of locks; the daemon says how it gets on with it."""
    path = layout.gateway.lock
    try:
        is_there = Locks().hold(path.stat())
    except OSError:
        is_there = False
    told = _told(layout) if daemon_pid(layout) is not None else None
    if told is not None and told.state == "down":
        why = "it does not stay up: model calls wait"
        yield fault(Code.GATEWAY, why, path, cure="the daemon's log says why; it starts it again and again")
    elif is_there:
        yield ok(Code.GATEWAY, "it runs" + (f", pid {told.pid}" if told is not None and told.pid else ""), path)
    else:
        yield ok(Code.GATEWAY, "none runs; the first model call starts one", path)


def _told(layout: SpoolLayout) -> GatewayStatus | None:
    try:
        status = read_model(layout.status_file, LiveStatus)
    except UnreadableFile:
        return None
    return status.daemon.gateway if status is not None else None


def check_gateway_files(look: Look) -> Iterator[Finding]:
    """What lies in gateway/."""
    running = {
        attempt_name(task.task.ref, task.running)
        for seen in look.plans.values()
        for task in seen.tasks
        if task.running is not None
    }
    for entry in look.entries:
        if entry.standing is not Standing.LEGAL:
            continue
        name = entry.path.name.removesuffix(".json")
        if entry.folder == "tokens" and name not in running and name.partition(".")[0] not in look.unreadable:
            yield look.settled_at_start(Code.TOKEN_LEFT, "of an attempt that is over", entry.path, what="removes it")
        elif entry.folder == "usage":
            count = _unreadable_lines(entry.path)
            if count:
                why = f"{count} line{'s' if count > 1 else ''} that cannot be read: what they cost is in no sum"
                yield fault(Code.JOURNAL_UNREADABLE, why, entry.path, cure="a bad disk does that: see dmesg, smartctl")


def _unreadable_lines(path: Path) -> int:
    count = 0
    try:
        with path.open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):  # a torn tail is cut before the next line is written
                    count += not _is_line(line)
    except OSError:
        return 1
    return count


def _is_line(line: bytes) -> bool:
    try:
        JournalLine.model_validate_json(line)
    except ValidationError:
        return False
    return True
