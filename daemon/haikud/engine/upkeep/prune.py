"""Pruning: finished plans that are old enough leave the spool, where nothing of theirs is lost.

A plan goes as a whole or stays as a whole; for each task that keeps it, it is said why. Worktrees and branches go first
(each removal may be repeated), then the plan, in the steps of removal.py: killed anywhere, the next prune ends what was
begun. Safe beside a daemon, which knows only what is open; a plan that someone has just asked for stays. One prune at a
time: a lock on the folder of tombstones.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.base import JsonObject, utc_now
from haikud.contracts.format import SpoolFormat
from haikud.contracts.ids import split_ref
from haikud.contracts.tombstone import Tombstone
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.merging.places import clear_merge_of
from haikud.engine.upkeep.look import Locks, SeenPlan, read_plan
from haikud.engine.upkeep.removal import finish_removal, put_back, put_tombstone, take_out, unfinished
from haikud.engine.upkeep.safety import Verdict, copied_files, judge_task
from haikud.sandbox.process_table import marked_beneath
from haikud.sandbox.trees import TreeStillAlive
from haikud.spool.durable import make_folder
from haikud.spool.layout import SpoolLayout
from haikud.spool.leftovers import remove_leftovers
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.store import Store
from haikud.spool.taken import split_taken_name
from haikud.workspace.git import WorkspaceError
from haikud.workspace.ownership import read_owner
from haikud.workspace.removal import Safety, remove_worktree, rescue_ref, save_rescue
from haikud.workspace.repository import current_head, resolve_ref

ASKED_FOR = "someone has just asked for it: a command or an answer waits"


class PruneIsRunning(Exception):  # noqa: N818 - reads as what it is
    """Another prune works on this spool."""


@dataclass(frozen=True)
class PlanReport:
    """What became of a plan that was old enough."""

    plan_id: str
    pruned: bool  # or would be, where nothing was to be done
    why: str = ""  # it stays, where that is not for a task's sake
    tasks: list[Verdict] = field(default_factory=list)

    def as_json(self) -> JsonObject:
        """For `--json`."""
        tasks = [{"ref": one.ref, "kept": one.kept or None, "branch": one.branch} for one in self.tasks]
        return {"plan": self.plan_id, "pruned": self.pruned, "why": self.why or None, "tasks": tasks}


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    before: datetime  # plans whose last task was final before
    rescue: bool = False
    dry: bool = False


def prune_plans(layout: SpoolLayout, wish: Wish) -> list[PlanReport]:
    """Prune; a report for each plan that was old enough. Raises PruneIsRunning and OSError."""
    store = Store(layout)
    reports = []
    with _one_at_a_time(layout):
        if not wish.dry:
            remove_leftovers([layout.pruned])
        for plan_id in unfinished(layout):
            if not wish.dry:
                finish_removal(layout, plan_id)
            reports.append(PlanReport(plan_id, pruned=True, why="an earlier prune had begun"))
        form = read_model(layout.format_file, SpoolFormat)
        spool_id = form.spool_id if form else ""
        alive = _alive(layout)
        for plan_id in store.plan_ids():
            report = _prune_plan(store, plan_id, wish, spool_id, alive)
            if report is not None:
                reports.append(report)
    return reports


@contextmanager
def _one_at_a_time(layout: SpoolLayout) -> Iterator[None]:
    make_folder(layout.pruned)
    descriptor = os.open(layout.pruned, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PruneIsRunning from error
        yield
    finally:
        os.close(descriptor)


def _prune_plan(store: Store, plan_id: str, wish: Wish, spool_id: str, alive: set[str]) -> PlanReport | None:
    """None where the plan is open or too young."""
    layout = store.layout
    try:
        seen = read_plan(store, plan_id)
    except UnreadableFile as error:
        return PlanReport(plan_id, pruned=False, why=f"{error}; see `haikud doctor`")
    finished = finished_at(seen) if seen is not None and layout.plan(plan_id).response.is_file() else None
    if seen is None or finished is None or finished >= wish.before:
        return None
    why = "processes of it live; see `haikud doctor`" if plan_id in alive else ASKED_FOR
    if plan_id in alive or is_asked_for(layout, plan_id):
        return PlanReport(plan_id, pruned=False, why=why)
    orders = {
        one.task.ref: build_workspace(seen.plan, one.task, layout.task(one.task.ref), spool_id) for one in seen.tasks
    }
    merging = _clear_merges(orders.values(), plan_id, dry=wish.dry)
    if merging:
        return PlanReport(plan_id, pruned=False, why=merging)
    verdicts = [_judge(layout, ref, order, wish) for ref, order in orders.items()]
    stays = any(one.kept for one in verdicts)
    if not stays and not wish.dry:
        verdicts = [_remove_work(layout, one, orders[one.ref]) for one in verdicts]
        stays = any(one.kept for one in verdicts)
    if stays or wish.dry:
        return PlanReport(plan_id, pruned=not stays, tasks=verdicts)
    put_tombstone(layout, _tombstone(seen, finished, orders))
    why = _take_out(store, plan_id, seen)
    return PlanReport(plan_id, pruned=not why, why=why, tasks=verdicts)


def finished_at(seen: SeenPlan) -> datetime | None:
    """When the last of a plan's tasks got its final decision; None where not all of it is published."""
    if not seen.is_finished:
        return None
    return max((one.last.at for one in seen.tasks if one.last is not None), default=None)


def is_asked_for(layout: SpoolLayout, plan_id: str) -> bool:
    """Whether a command or an answer for a plan or one of its tasks lies in control/ or guidance/, taken or not."""
    for folder in (layout.control, layout.guidance):
        for path in folder.iterdir() if folder.is_dir() else ():
            taken = split_taken_name(path.name)
            name = taken[1] if taken else path.name.lstrip(".")
            if split_ref(name)[0] == plan_id:
                return True
    return False


def _alive(layout: SpoolLayout) -> set[str]:
    """The plans of which a process lives, or a claim is held."""
    markers = (Path(marker).relative_to(layout.plans) for marker in marked_beneath(layout.plans).values())
    found = {marker.parts[0] for marker in markers if marker.parts}
    locks = Locks()
    for claim in layout.plans.glob("[!.]*/*/attempt-*/claim"):
        try:
            held = locks.hold(claim.stat())
        except FileNotFoundError:
            continue
        if held:
            found.add(claim.parent.parent.parent.name)
    return found


def _clear_merges(orders: Iterable[WorkspaceOrder | None], plan_id: str, *, dry: bool) -> str:
    """Clear away what a killed merge of the plan left; why the plan stays where that cannot be."""
    places = {order.git_common_dir for order in orders if order is not None and Path(order.git_common_dir).exists()}
    try:
        for common in () if dry else sorted(places):
            clear_merge_of(common, plan_id)
    except (WorkspaceError, TreeStillAlive) as error:
        return f"a merge of it is at work, or left something: {error}"
    return ""


def _judge(layout: SpoolLayout, ref: str, order: WorkspaceOrder | None, wish: Wish) -> Verdict:
    try:
        return judge_task(ref, layout.task(ref), order, rescue=wish.rescue, dry=wish.dry)
    except WorkspaceError as error:
        return Verdict(ref, str(error))


def _remove_work(layout: SpoolLayout, verdict: Verdict, order: WorkspaceOrder | None) -> Verdict:
    """Remove a task's worktree and branch; the verdict, or why it stays after all."""
    try:
        if order is None or not Path(order.git_common_dir).exists() or read_owner(order) is None:
            return verdict
        if verdict.needs_rescue:
            save_rescue(order)
        pushed = verdict.safety is Safety.PUSHED
        remove_worktree(order, copied_files(layout.task(verdict.ref)), keep_branch=pushed)
    except WorkspaceError as error:
        return Verdict(verdict.ref, str(error), verdict.safety)
    return verdict


def _tombstone(seen: SeenPlan, finished: datetime, orders: dict[str, WorkspaceOrder | None]) -> Tombstone:
    rescued, kept = {}, []
    for ref, order in orders.items():
        if order is None or not Path(order.git_common_dir).exists():
            continue
        if resolve_ref(order.git_common_dir, rescue_ref(ref)) is not None:
            rescued[ref] = rescue_ref(ref)
        if current_head(order.git_common_dir, order.branch) is not None:
            kept.append(order.branch)
    return Tombstone(
        plan_id=seen.plan.id,
        pruned_at=utc_now(),
        finished_at=finished,
        content_sha256=seen.plan.content_sha256,
        token=seen.plan.token,
        refs=[one.task.ref for one in seen.tasks],
        rescued=rescued,
        branches_kept=kept,
    )


def _take_out(store: Store, plan_id: str, seen: SeenPlan) -> str:
    """The steps from the tombstone on; why the plan stays after all, where someone has asked for it meanwhile."""
    layout = store.layout
    before = [one.numbers for one in seen.tasks]
    take_out(layout, plan_id)
    hidden = layout.plan_being_removed(plan_id)
    again = is_asked_for(layout, plan_id) or not hidden.response.is_file()
    for one, numbers in zip(seen.tasks, before, strict=True):
        decision = hidden.task(one.task.id).decision(max(numbers) + 1)
        again = again or decision.exists()
    if again:
        put_back(layout, plan_id)
        return ASKED_FOR
    finish_removal(layout, plan_id)
    return ""
