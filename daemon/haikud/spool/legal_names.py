"""Every name that may lie in a spool: one table, which the doctor, the prune and the tests of crashes look into.

A name that stands in no row was not put there by haikud. Two kinds of names come and go: temporary files of durable
writes, which name the process that writes them, and files that were taken out of a drop folder. Reads only, follows no
symlink, enters no folder that an agent may write. A folder that vanishes meanwhile is no failure; fails with OSError.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from haikud.contracts.names import ID, REF
from haikud.contracts.states import TaskState
from haikud.spool.layout import BUILD, DECISION, DROP_FOLDERS, REMOVAL, TOP_FOLDERS, SpoolLayout
from haikud.spool.leftovers import is_leftover
from haikud.spool.taken import TAKEN


class Kind(StrEnum):
    """What an entry of a folder is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    ANY = "any"  # no matter what


class Standing(StrEnum):
    """What a name says about an entry."""

    LEGAL = "legal"
    TEMPORARY = "temporary"  # a durable write under way, or cut short
    TAKEN = "taken"  # a dropped file that is being worked on, or was
    BUILD = "build"  # a plan before its commit point
    REMOVAL = "removal"  # a plan that is being pruned
    UNKNOWN = "unknown"  # not haikud's


@dataclass(frozen=True)
class Row:
    """A name that is legal in a kind of folder."""

    folder: str  # which kind of folder: a key of the table
    name: str  # a regular expression for the whole name
    kind: Kind
    what: str
    beneath: str = ""  # the kind of folder that this is; "" is not looked into
    standing: Standing = Standing.LEGAL


TABLE: tuple[Row, ...] = (
    Row("spool", "FORMAT", Kind.FILE, "the format's version and the spool's identity"),
    Row("spool", r"daemon\.lock", Kind.FILE, "one daemon per spool"),
    Row("spool", r"status\.json", Kind.FILE, "the live picture"),
    Row("spool", r"\.status\.reserve", Kind.FILE, "room for status.json on a disk that is full"),
    Row("spool", r"\.examined", Kind.FILE, "a probe of the filesystem, there for a moment"),
    Row("spool", r"queue\.json", Kind.FILE, "whether the queue as a whole is paused"),
    Row("spool", r"day-spend\.json", Kind.FILE, "what today's agents have cost"),
    Row("spool", r"role-history\.json", Kind.FILE, "what the last finished tasks of each role took"),
    Row("spool", r"(queue|day-spend)\.json\.torn-[0-9]+", Kind.FILE, "what the doctor could not read"),
    Row("spool", r"README\.md|examples|\.gitignore", Kind.ANY, "of a checkout's default spool"),
    *(Row("spool", name, Kind.FOLDER, "see spool/README.md", name) for name in TOP_FOLDERS),
    Row("gateway", r"gateway\.lock|address\.json", Kind.FILE, "one gateway per spool, and where it listens"),
    Row("gateway", r"(messages|daemon)\.sock", Kind.ANY, "its sockets"),
    Row("gateway", "tokens", Kind.FOLDER, "what attempts may call", "tokens"),
    Row("gateway", "usage", Kind.FOLDER, "the usage journal", "usage"),
    Row("tokens", rf"{REF}\.[1-9][0-9]*\.json", Kind.FILE, "what an attempt's token is good for"),
    Row("usage", r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl", Kind.FILE, "what a day's model calls cost"),
    *(Row(name, TAKEN, Kind.ANY, "taken, not finished", "", Standing.TAKEN) for name in DROP_FOLDERS),
    *(Row(name, r"(?s:.+)", Kind.ANY, "what producers drop") for name in DROP_FOLDERS),
    Row("rejected", r"(?s:[^.].*)", Kind.ANY, "what could not be used, and NAME.reason.json"),
    Row("plans", ID, Kind.FOLDER, "an admitted plan", "plan"),
    Row("plans", r"\.pruned", Kind.FOLDER, "tombstones", "tombstones"),
    Row("plans", BUILD.pattern, Kind.FOLDER, "a plan before its commit point", "", Standing.BUILD),
    Row("plans", REMOVAL.pattern, Kind.FOLDER, "a plan that is being pruned", "", Standing.REMOVAL),
    Row("tombstones", ID, Kind.FILE, "a pruned plan's tombstone"),
    Row("plan", r"request\.(json|yaml)", Kind.FILE, "the bytes as dropped"),
    Row("plan", r"plan\.json", Kind.FILE, "the normalised plan"),
    Row("plan", r"response(\.[0-9]+)?\.json", Kind.FILE, "the answer, and older ones"),
    Row("plan", r"response\.json\.torn-[0-9]+", Kind.FILE, "what the doctor could not read"),
    Row("plan", r"ledger\.jsonl", Kind.FILE, "history for people"),
    Row("plan", ID, Kind.FOLDER, "a task", "task"),
    Row("task", r"agent\.log", Kind.FILE, "one log over all attempts"),
    Row("task", DECISION.pattern, Kind.FILE, "a decision"),
    Row("task", r"response(\.[0-9]+)?\.json", Kind.FILE, "the answer, and older ones"),
    Row("task", r"(decision-[0-9]{4,}|response)\.json\.torn-[0-9]+", Kind.FILE, "what the doctor could not read"),
    Row("task", r"(escalation|guidance)-[0-9]{4,}\.json", Kind.FILE, "questions and answers"),
    Row("task", r"transcript\.jsonl", Kind.FILE, "the built-in agent's turns"),
    Row("task", r"\.setup-done", Kind.FILE, "the setup command ran"),
    Row("task", "git", Kind.FOLDER, "the agent's own git folder"),
    Row("task", r"git\.(replaced|refused|damaged)-[0-9]+", Kind.ANY, "what was set aside of it, or in its place"),
    Row("task", r"attempt-[1-9][0-9]*", Kind.FOLDER, "an attempt", "attempt"),
    Row("attempt", r"(spec|assignment|dependencies|orders|runner|result|usage)\.json", Kind.FILE, "orders and reports"),
    Row("attempt", r"guidance\.txt", Kind.FILE, "answers so far, for the agent"),
    Row("attempt", "claim", Kind.FILE, "the lock that the runner holds"),
    Row("attempt", r"events\.jsonl", Kind.FILE, "the runner's events"),
    Row("attempt", "out", Kind.FOLDER, "the agent's"),
    *(Row("tasks", str(state), Kind.FOLDER, "links of that state", "state") for state in TaskState),
    Row("state", REF, Kind.LINK, "the link of a task"),
    Row("responses", rf"{REF}\.json", Kind.FILE, "an answer"),
    Row("responses", r"\.rejected-[0-9a-f]{16}\.json", Kind.FILE, "a rejection, not published", "", Standing.TAKEN),
    Row("responses", rf"{ID}\.rejected\.[0-9]+\.json", Kind.FILE, "the answer to a request under a used id"),
    Row("escalations", rf"{REF}\.json", Kind.FILE, "an open question"),
    Row("issues", r"[1-9][0-9]*\.json", Kind.FILE, "an issue"),
    Row("issues", r"\.lock", Kind.FILE, "one writer at a time"),
    Row("logs", rf"agent-{REF}\.log", Kind.LINK, "a task's log"),
)
"""The first row that fits counts."""


@functools.cache
def _rows(folder: str) -> list[tuple[re.Pattern[str], Row]]:
    return [(re.compile(row.name), row) for row in TABLE if row.folder == folder]


@dataclass(frozen=True)
class Entry:
    """Something that lies in a spool."""

    path: Path
    folder: str  # the kind of folder it lies in
    standing: Standing
    status: os.stat_result  # of itself, not of what a symlink names


def stand_of(folder: str, name: str, kind: Kind) -> tuple[Standing, Row | None]:
    """What a name means in a kind of folder, and its row; UNKNOWN where it has none or is of another kind."""
    if is_leftover(name) and kind is Kind.FILE:
        return Standing.TEMPORARY, None
    for pattern, row in _rows(folder):
        if pattern.fullmatch(name):
            fits = row.kind in {kind, Kind.ANY}
            return (row.standing, row) if fits else (Standing.UNKNOWN, None)
    return Standing.UNKNOWN, None


def walk(layout: SpoolLayout) -> Iterator[Entry]:
    """Everything in the spool but what lies beneath an agent's folders, folders before what they hold."""
    waiting = [("spool", layout.root)]
    while waiting:
        folder, path = waiting.pop()
        for name, status in _list(path):
            standing, row = stand_of(folder, name, kind_of(status.st_mode))
            yield Entry(path / name, folder, standing, status)
            if row is not None and row.beneath:
                waiting.append((row.beneath, path / name))


def kind_of(mode: int) -> Kind:
    """What an entry of that mode is. A FIFO, a socket or a device is legal nowhere but where anything is."""
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    if stat.S_ISLNK(mode):
        return Kind.LINK
    return Kind.FILE if stat.S_ISREG(mode) else Kind.ANY


def _list(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(path) as listing:
            for found in listing:
                try:
                    status = found.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield found.name, status
    except (FileNotFoundError, NotADirectoryError):
        return
