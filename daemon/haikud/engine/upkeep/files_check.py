"""The spool's own files: which names lie there, what is left over, whether what is read at every start can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from haikud.contracts.day_record import DayRecord
from haikud.contracts.decision import QueueState
from haikud.contracts.live import LiveStatus
from haikud.contracts.states import TaskState
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.engine.upkeep.look import Look
from haikud.sandbox.process_table import look_at
from haikud.spool.layout import TOP_FOLDERS, SpoolLayout
from haikud.spool.leftovers import writer_of
from haikud.spool.legal_names import Entry, Kind, Standing, kind_of
from haikud.spool.models import M, UnreadableFile, read_model
from haikud.spool.taken import split_taken_name

NOT_OURS = "nothing of haikud's has that name; it is left alone: move it away if nobody wants it"


def check_files(look: Look) -> Iterator[Finding]:
    """All of them."""
    yield from _folders(look.layout)
    yield from _own_files(look)
    for entry in look.entries:
        match entry.standing:
            case Standing.UNKNOWN:
                yield note(Code.UNKNOWN_FILE, f"an unknown {_kind(entry)}", entry.path, cure=NOT_OURS)
            case Standing.TEMPORARY if not _is_being_written(entry):
                why = "a durable write that was cut short; nobody reads it"
                yield note(Code.TEMPORARY_LEFT, why, entry.path, cure="`haikud doctor --repair` removes it")
            case Standing.BUILD:
                why = "a plan that was never admitted: its request is still there, or was never taken"
                yield look.settled_at_start(Code.BUILD_LEFT, why, entry.path, what="removes it")
            case Standing.REMOVAL:
                yield note(Code.PRUNE_UNFINISHED, "a prune was cut short", entry.path, cure="prune again, or --repair")
            case Standing.TAKEN if look.daemon is None:
                yield _taken(look, entry)
            case _:
                pass
    yield from _tombstones(look)


def _folders(layout: SpoolLayout) -> Iterator[Finding]:
    for path in (*(layout.root / name for name in TOP_FOLDERS), *(layout.tasks / state for state in TaskState)):
        if not path.is_dir():
            cure = "start the daemon, which makes it, or `haikud doctor --repair`"
            yield fault(Code.FOLDER_MISSING, "a folder of the spool is missing", path, cure=cure)


def _own_files(look: Look) -> Iterator[Finding]:
    layout = look.layout
    why = broken(layout.queue_file, QueueState)
    if why is not None:
        cure = "--repair moves it aside; then the queue is not paused (`haikud pause all` pauses it again)"
        yield fault(Code.QUEUE_UNREADABLE, f"no daemon starts: {why}", layout.queue_file, cure=cure)
    why = broken(layout.day_spend_file, DayRecord)
    if why is not None:
        cure = "--repair moves it aside; today's spending counts from nothing"
        yield note(Code.DAY_SPEND_UNREADABLE, why, layout.day_spend_file, cure=cure)
    why = broken(layout.status_file, LiveStatus)
    if why is not None:
        cure = "the daemon writes it anew within a second; --repair removes it"
        yield note(Code.STATUS_UNREADABLE, why, layout.status_file, cure=cure)


def broken(path: Path, cls: type[M]) -> str | None:
    """Why a record that is there cannot be read; None where it can, or there is none."""
    try:
        read_model(path, cls)
    except UnreadableFile as error:
        return error.why
    except OSError as error:
        return error.strerror or str(error)
    return None


def _is_being_written(entry: Entry) -> bool:
    """Whether the process that a temporary file names lives; a pid used again only spares the file a little longer."""
    writer = writer_of(entry.path.name)
    seen = look_at(writer) if writer is not None else None
    return seen is not None and seen.alive


def _taken(look: Look, entry: Entry) -> Finding:
    taken = split_taken_name(entry.path.name)
    if taken and taken[0] in look.finished_tokens:
        why = "a dropped file whose consequence is durable"
        return note(Code.TAKEN_LEFT, why, entry.path, cure="the next daemon removes it, and so does --repair")
    why = "a dropped file that was taken and not finished"
    return note(Code.TAKEN_LEFT, why, entry.path, cure="the next daemon goes on with it: haikud run")


def _tombstones(look: Look) -> Iterator[Finding]:
    """A tombstone beside its plan, and what a prune would have removed."""
    for entry in look.entries:
        if entry.folder != "tombstones" or entry.standing is not Standing.LEGAL:
            continue
        plan_id = entry.path.name
        if os.path.lexists(look.layout.plan(plan_id).folder):
            why = "a prune was cut short before it took the plan away: the plan is whole"
            yield note(Code.PRUNE_UNFINISHED, why, entry.path, plan_id, "prune again; --repair removes the tombstone")
        elif look.layout.plan_being_removed(plan_id).folder.exists():
            continue  # said already
        if left := look.outside_plans.get(plan_id):
            shown = ", ".join(str(path.relative_to(look.layout.root)) for path in left[:3])
            yield note(Code.PRUNE_UNFINISHED, f"{shown} of a pruned plan", entry.path, plan_id, "--repair removes it")


def _kind(entry: Entry) -> str:
    kind = kind_of(entry.status.st_mode)
    return "special file" if kind is Kind.ANY else {Kind.LINK: "symlink"}.get(kind, str(kind))
