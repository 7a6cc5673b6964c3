"""One look at a spool: what lies there and what it says, read once for all checks. Reads only, takes no lock.

Checks are functions of a look. Nothing here is a fault; a file that vanishes meanwhile counts as missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.format import SpoolFormat
from haikud.contracts.ids import split_ref
from haikud.contracts.names import ID
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState, is_final
from haikud.engine.drops.setting_aside import tokens_done
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.sandbox.process_table import marked_beneath
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout
from haikud.spool.legal_names import Entry, Standing, walk
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.store import Store, decision_numbers

REJECTION = re.compile(rf"{ID}\.rejected\.[0-9]+\.json")
"""The answer to another request than the plan's own."""


@dataclass(frozen=True)
class SeenTask:
    """A task as it lies on disk."""

    task: Task
    numbers: list[int]  # of the decisions that are there
    decisions: list[Decision]  # the whole ones, in order
    links: list[TaskState]  # the folders that hold a link of its name

    @property
    def last(self) -> Decision | None:
        """The word that holds."""
        return self.decisions[-1] if self.decisions else None

    @property
    def is_final(self) -> bool:
        """Whether its last decision is final."""
        return self.last is not None and is_final(self.last.state)

    @property
    def is_published(self) -> bool:
        """Whether its link says that all about it is published."""
        return self.last is not None and self.is_final and self.links == [self.last.state]

    @property
    def running(self) -> int | None:
        """The number of the attempt that is at work, by the last decision."""
        return self.last.attempt if self.last is not None and self.last.state is TaskState.RUNNING else None


@dataclass(frozen=True)
class SeenPlan:
    """A plan as it lies on disk."""

    plan: Plan
    tasks: list[SeenTask]

    @property
    def is_finished(self) -> bool:
        """Whether all of it is published."""
        return all(one.is_published for one in self.tasks)


@dataclass
class Look:
    """Everything that checks want to know."""

    layout: SpoolLayout
    spool_id: str | None
    daemon: int | None  # pid of the daemon that serves the spool
    entries: list[Entry] = field(default_factory=list)
    plans: dict[str, SeenPlan] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)  # plan id -> why
    held: set[Path] = field(default_factory=set)  # the folders of attempts whose claim someone holds
    marked: dict[int, str] = field(default_factory=dict)  # pid -> HAIKUD_OUT, of this spool's processes

    def task(self, ref: str) -> SeenTask | None:
        """The task of that ref."""
        seen = self.plans.get(split_ref(ref)[0])
        return next((one for one in seen.tasks if one.task.ref == ref), None) if seen else None

    @cached_property
    def finished_tokens(self) -> set[str]:
        """Of dropped files that may go: requests that became plans, and all that was set aside with a reason."""
        return {seen.plan.token for seen in self.plans.values()} | tokens_done(self.layout)

    @cached_property
    def outside_plans(self) -> dict[str, list[Path]]:
        """Plan id -> what lies outside plans/ of a plan: links, published answers. Rejections are others'."""
        found: dict[str, list[Path]] = {}
        for entry in self.entries:
            if entry.folder in {"state", "responses", "escalations", "logs"} and entry.standing is Standing.LEGAL:
                name = entry.path.name
                name = name.removeprefix("agent-") if entry.folder == "logs" else name
                if not REJECTION.fullmatch(name):
                    found.setdefault(split_ref(name)[0], []).append(entry.path)
        return found

    def settled_at_start(
        self, code: Code, message: str, path: Path | str = "", ref: str | None = None, what: str = "settles it"
    ) -> Finding:
        """What the next daemon sees to when it starts; a fault where a daemon runs and has not."""
        if self.daemon is not None:
            return fault(code, message, path, ref, "stop the daemon (`haikud stop`), then `haikud doctor --repair`")
        return note(code, message, path, ref, f"the next daemon {what}, and so does `haikud doctor --repair`")

    def is_in_use(self) -> bool:
        """Whether a daemon or an attempt lives, so that a half state may be one of the moment."""
        return self.daemon is not None or bool(self.marked) or bool(self.held)


def look_at_spool(layout: SpoolLayout, *, daemon: Callable[[], int | None] | None = None) -> Look:
    """Read it all. `daemon` tells the pid of the daemon; by default what daemon.lock says."""
    try:
        form = read_model(layout.format_file, SpoolFormat)
    except UnreadableFile:
        form = None
    seen = Look(layout, form.spool_id if form else None, daemon() if daemon else daemon_pid(layout))
    seen.marked = marked_beneath(layout.root)
    locks = Locks()
    store = Store(layout)
    seen.entries = list(walk(layout))
    for entry in seen.entries:
        if entry.folder == "attempt" and entry.path.name == "claim" and locks.hold(entry.status):
            seen.held.add(entry.path.parent)
        if entry.folder == "plans" and entry.standing is Standing.LEGAL and not entry.path.name.startswith("."):
            _read_plan(seen, store, entry.path.name)
    return seen


def _read_plan(seen: Look, store: Store, plan_id: str) -> None:
    try:
        plan = read_plan(store, plan_id)
    except UnreadableFile as error:
        seen.unreadable[plan_id] = error.why
        return
    if plan is not None:
        seen.plans[plan_id] = plan
    elif store.has_plan(plan_id):
        seen.unreadable[plan_id] = "it is missing"


def read_plan(store: Store, plan_id: str) -> SeenPlan | None:
    """A plan as it lies on disk; None where there is none. UnreadableFile where its plan.json is broken."""
    plan = store.plan(plan_id)
    if plan is None:
        return None
    tasks = [
        SeenTask(
            task,
            decision_numbers(store.layout.task(task.ref).folder),
            store.decisions(task.ref) if split_ref(task.ref) == (plan_id, task.id) else [],
            [state for state in TaskState if os.path.lexists(store.layout.link(state, task.ref))],
        )
        for task in plan.tasks
    ]
    return SeenPlan(plan, tasks)


def evidence_of(path: Path) -> dict[str, Any]:
    """The evidence that an answer holds; nothing where there is none, or it cannot be read."""
    try:
        answer = read_model(path, Response)
    except UnreadableFile:
        return {}
    evidence = answer.payload.get("evidence") if answer is not None else None
    return evidence if isinstance(evidence, dict) else {}


class Locks:
    """The kernel's list of flocks, as it is now; nobody's lock is tried for this. Empty without /proc/locks."""

    def __init__(self) -> None:
        self._found: set[tuple[int, int]] = set()
        try:
            lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return
        for words in (line.split() for line in lines):
            if len(words) >= 6 and words[1] == "FLOCK":
                major, minor, inode = words[5].split(":")
                self._found.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
        self._inodes = {inode for _, inode in self._found}

    def hold(self, status: os.stat_result) -> bool:
        """Whether someone holds an flock on that file."""
        if not self._found:
            return False
        if os.major(status.st_dev) == 0:  # overlay and btrfs: the kernel may name another device in its list
            return status.st_ino in self._inodes
        return (status.st_dev, status.st_ino) in self._found
