"""The store: plans, their tasks' decisions, and the links that index them.

Promises: a plan is there whole or not at all (the rename of its folder is the commit point). A task's state is its
last whole decision; numbers have no gaps and no number is used twice. Where a link and a decision disagree after a
crash, the decision holds. A link in a folder of a final state says that everything about that task is published.

Fails with OSError (the environment) and with ValueError, an illegal move or number: our bug, which should end the
daemon.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from haikud.contracts.decision import Decision
from haikud.contracts.ids import is_usable_id, split_ref
from haikud.contracts.plan import Plan
from haikud.contracts.states import FINAL_STATES, OPEN_STATES, TaskState, check_move, is_final
from haikud.spool.batch import Batch
from haikud.spool.durable import make_folder, remove_if_there, write_durably
from haikud.spool.layout import BUILD, DECISION, SpoolLayout, TaskPaths
from haikud.spool.models import UnreadableFile, dump, dump_as_is, read_model
from haikud.spool.syncing import sync_all


class FirstOrder(Protocol):
    """What runs a task as soon as its plan is admitted: its second decision, and all that the attempt needs."""

    @property
    def decision(self) -> Decision:
        """Decision 2."""
        ...

    def put_into_build(self, batch: Batch, built: TaskPaths) -> None:
        """Write the order, and not the decision, into the task's folder as it is being built."""
        ...


@dataclass(frozen=True)
class Admission:
    """A plan that is to be admitted."""

    plan: Plan
    request_bytes: bytes
    first_decisions: dict[str, Decision]  # task id -> decision 1
    first_orders: Mapping[str, FirstOrder] = field(default_factory=dict)  # task id -> what runs it at once


class Store:
    """What the engine knows durably. One writer: the daemon. Lookers use the reading half at any time."""

    def __init__(self, layout: SpoolLayout) -> None:
        self.layout = layout

    # -- plans

    def plan(self, plan_id: str) -> Plan | None:
        """An admitted plan; None where there is none; UnreadableFile where its file is broken."""
        return read_model(self.layout.plan(plan_id).plan, Plan)

    def plan_ids(self) -> list[str]:
        """The ids of all plans that are there, sorted."""
        with os.scandir(self.layout.plans) as listing:
            return sorted(found.name for found in listing if is_usable_id(found.name))

    def has_plan(self, plan_id: str) -> bool:
        """Whether that plan was admitted and is not pruned."""
        return is_usable_id(plan_id) and self.layout.plan(plan_id).folder.is_dir()

    def is_pruned(self, plan_id: str) -> bool:
        """Whether a plan of that id was there once. Its id stays used."""
        return is_usable_id(plan_id) and os.path.lexists(self.layout.pruned / plan_id)

    def admit(self, plan: Plan, request_bytes: bytes, first_decisions: dict[str, Decision]) -> None:
        """Admit a plan: on return it is durable, before it is not there at all.

        `first_decisions`: task id -> decision 1. FileExistsError where the id is used, by a pruned plan too.
        """
        self.admit_together([Admission(plan, request_bytes, first_decisions)], Batch())

    def admit_together(self, admissions: Sequence[Admission], batch: Batch) -> None:
        """Admit plans with one batch, which is committed: on return all are durable; where it raises, none is there."""
        for one in admissions:
            if self.has_plan(one.plan.id) or self.is_pruned(one.plan.id):
                raise FileExistsError(f"the id {one.plan.id!r} is used already")
            _check_first_decisions(one)
        try:
            try:
                for one in admissions:
                    self._build(one, batch)
            except BaseException:
                batch.discard()
                raise
            batch.commit()
        except BaseException:
            for one in admissions:
                with suppress(OSError):  # what is left, recovery removes
                    self._drop_build(self.layout.plan_being_built(one.plan.id).folder, one.plan.id)
            raise

    def _build(self, admission: Admission, batch: Batch) -> None:
        """The plan's folder beside its name, and links that dangle as yet; the batch's commit gives it its name."""
        plan = admission.plan
        build = self.layout.plan_being_built(plan.id)
        try:
            batch.make_folder(build.folder)
        except FileExistsError:
            shutil.rmtree(build.folder)
            batch.make_folder(build.folder)
        batch.write_ahead(build.folder / plan.request_file, admission.request_bytes)
        batch.write_ahead(build.plan, dump_as_is(plan))
        for task in plan.tasks:
            paths = build.task(task.id)
            decision = admission.first_decisions[task.id]
            batch.make_folder(paths.folder)
            batch.write_ahead(paths.decision(1), dump(decision))
            batch.write_ahead(paths.log, b"")
            order = admission.first_orders.get(task.id)
            if order is not None:
                decision = order.decision
                order.put_into_build(batch, paths)
                batch.write_ahead(paths.decision(decision.number), dump(decision))
            batch.symlink_ahead(self.layout.link_target(task.ref), self.layout.link(decision.state, task.ref))
            batch.symlink_ahead(self.layout.log_target(task.ref), self.layout.log_link(task.ref))
        batch.rename(build.folder, self.layout.plan(plan.id).folder)

    # -- decisions

    def last_decision(self, ref: str) -> Decision | None:
        """The last whole decision on a task; None where there is no such task."""
        paths = self.layout.task(ref)
        for number in reversed(decision_numbers(paths.folder)):
            decision = _read_decision(paths, ref, number)
            if decision is not None:
                return decision
        return None

    def decisions(self, ref: str, paths: TaskPaths | None = None, names: Iterable[str] | None = None) -> list[Decision]:
        """All whole decisions on a task, in order. Who knows its paths, and the names in its folder, saves a look."""
        paths = paths or self.layout.task(ref)
        numbers = decision_numbers(paths.folder) if names is None else numbers_among(names)
        found = (_read_decision(paths, ref, number) for number in numbers)
        return [decision for decision in found if decision is not None]

    def decide(self, decision: Decision, *, settle_link: bool = True) -> None:
        """Make a decision durable, then move the task's link (with `settle_link` False, the caller does).

        ValueError where its number is not the next, or its state cannot follow the last one. The last one is read from
        the disk: who knows it has `add_decision`.
        """
        batch = Batch()
        try:
            self.add_decision(batch, self.last_decision(decision.ref), decision)
            batch.commit()
        finally:
            batch.discard()
        if settle_link:
            self.move_link(decision.ref, decision.state, durable=is_final(decision.state))

    def add_decision(self, batch: Batch, last: Decision | None, decision: Decision, *, early: bool = False) -> None:
        """Put the decision that follows `last`, the one that holds, into a batch. Its link is the caller's to move.

        `early`: it may become durable before what else the batch holds, and so takes one round of fsyncs: a decision
        that a power cut leaves broken is none, and the one before it holds.

        Nothing is read. What has its name already is nobody's word: broken, or left by a write that failed after it
        was named, so that nobody has acted on it. ValueError as `decide`.
        """
        if decision.number != (last.number if last else 0) + 1:
            raise ValueError(f"decision {decision.number} on {decision.ref} does not follow {last and last.number}")
        if last is not None:
            check_move(last.state, decision.state)
            if is_final(last.state):
                # A retry leaves a final state, and recovery never walks those: the link goes first, so that a crash
                # between the two leaves a link where recovery looks, and a decision that tells it to move it back.
                self.move_link(decision.ref, decision.state, durable=True)
        path = self.layout.task(decision.ref).decision(decision.number)
        remove_if_there(path)
        batch.write_new(path, dump(decision), early=early)

    def keep_decision(self, decision: Decision, plan: Plan) -> None:
        """Write the decision that holds again where somebody has deleted or emptied its file. Looks, but reads not."""
        try:
            is_there = os.lstat(self.layout.task(decision.ref).decision(decision.number)).st_size > 0
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
        if not is_there:
            self.put_back(decision, plan)

    def put_back(self, decision: Decision, plan: Plan) -> None:
        """Write a decision again that was deleted; its folder too, and the plan's, where these are gone."""
        if self.layout.plans.is_dir():
            make_folder(self.layout.task(decision.ref).folder)
        paths = self.layout.plan(plan.id)
        if not paths.plan.exists():
            write_durably(paths.plan, dump_as_is(plan))
        write_durably(self.layout.task(decision.ref).decision(decision.number), dump(decision))

    # -- links

    def move_link(self, ref: str, to: TaskState, *, durable: bool = False, known: TaskState | None = None) -> None:
        """Move a task's link to a state's folder, from wherever it is; it is made where it is missing.

        `known`: where it should be; it is looked for elsewhere only if it is not there.
        """
        target = self.layout.link(to, ref)
        if known is not None and known is not to and not durable:
            with suppress(FileNotFoundError):
                self.layout.link(known, ref).rename(target)
                return
        found = self._links(ref, first=to)
        if not found:
            target.symlink_to(self.layout.link_target(ref))
        elif found[0] is not to:
            self.layout.link(found[0], ref).rename(target)
        for surplus in found[1:]:
            remove_if_there(self.layout.link(surplus, ref))
        if durable:
            moved = [] if found[:1] == [to] else [(self.layout.link(found[0], ref) if found else None, target)]
            _sync_moves(moved, [self.layout.tasks / state for state in {to, *found}])

    def move_links_finally(self, moves: Sequence[tuple[str, TaskState | None, TaskState]]) -> None:
        """Move several links to their final states, durably: (ref, where it should be, where to), each folder once."""
        done: list[tuple[Path | None, Path]] = []
        folders: set[Path] = set()
        slow: list[tuple[str, TaskState]] = []
        for ref, known, to in moves:
            if known is None or known is to:
                slow.append((ref, to))
                continue
            source, target = self.layout.link(known, ref), self.layout.link(to, ref)
            try:
                os.rename(source, target)  # noqa: PTH104 - of each task
            except FileNotFoundError:
                slow.append((ref, to))
                continue
            done.append((source, target))
            folders |= {source.parent, target.parent}
        _sync_moves(done, folders)
        for ref, to in slow:
            self.move_link(ref, to, durable=True)

    def linked_state(self, ref: str) -> TaskState | None:
        """The state whose folder holds a task's link; None where none does."""
        return next(iter(self._links(ref)), None)

    def _links(self, ref: str, first: TaskState | None = None) -> list[TaskState]:
        """Every state whose folder has a link of that ref (one, but after a crash); `first` leads where it has."""
        found = [state for state in TaskState if os.path.lexists(self.layout.link(state, ref))]
        return sorted(found, key=lambda state: state is not first)

    def open_refs(self) -> dict[str, TaskState]:
        """Every task whose link is not in a final state's folder. Walks no history."""
        found: dict[str, TaskState] = {}
        for state in TaskState:
            if state in OPEN_STATES:
                with os.scandir(self.layout.tasks / state) as listing:
                    found.update({link.name: state for link in listing if link.is_symlink()})
        return found

    # -- recovery

    def drop_links_without_plan(self) -> list[str]:
        """Remove the links that an admission left which never came to its commit point; their refs."""
        dropped: list[str] = []
        plans = os.fspath(self.layout.plans)  # no Path for each of thousands
        for ref in self.open_refs():
            if not os.path.isdir(f"{plans}/{split_ref(ref)[0]}"):  # noqa: PTH112 - a task's folder alone was deleted
                self._drop_links(ref)
                dropped.append(ref)
        return dropped

    def recover_builds(self) -> list[str]:
        """Remove plans that were being built when the daemon died; their ids. None of them was admitted."""
        removed: list[str] = []
        names = os.listdir(self.layout.plans)  # noqa: PTH208 - names only, of the whole history
        matches = [BUILD.fullmatch(name) for name in names if name.startswith(".")]
        for match in matches:
            if match:
                self._drop_build(self.layout.plans / match[0], match[1])
                removed.append(match[1])
        return removed

    def _drop_build(self, folder: Path, plan_id: str) -> None:
        """Remove a build and its dangling links, those of the logs too. What hardly began has none."""
        if not folder.is_dir():
            return
        if not self.has_plan(plan_id):
            for paths in folder.iterdir():
                if paths.is_dir():
                    self._drop_links(f"{plan_id}.{paths.name}")
                    if paths.name == plan_id:
                        self._drop_links(plan_id)
        shutil.rmtree(folder)

    def _drop_links(self, ref: str) -> None:
        for state in OPEN_STATES:
            remove_if_there(self.layout.link(state, ref))
        remove_if_there(self.layout.log_link(ref))


def decision_numbers(folder: Path) -> list[int]:
    """The numbers of the decisions in a task's folder, whole or not, in order; none where there is no folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return []
    return numbers_among(names)


def numbers_among(names: Iterable[str]) -> list[int]:
    """The numbers of the decisions among the names of a task's folder, in order."""
    matches = [DECISION.fullmatch(name) for name in names if name.startswith("decision-")]
    return sorted(int(match[1]) for match in matches if match)


def _read_decision(paths: TaskPaths, ref: str, number: int) -> Decision | None:
    try:
        decision = read_model(paths.decision(number), Decision)
    except UnreadableFile:
        return None
    return decision if decision and (decision.number, decision.ref) == (number, ref) else None


def _check_first_decisions(admission: Admission) -> None:
    plan, decisions = admission.plan, admission.first_decisions
    if set(decisions) != {task.id for task in plan.tasks}:
        raise ValueError(f"plan {plan.id}: one first decision per task is needed")
    for task in plan.tasks:
        first = decisions[task.id]
        if first.number != 1 or first.ref != task.ref or first.state in FINAL_STATES:
            raise ValueError(f"plan {plan.id}: not a first decision on {task.ref}: {first}")
        if split_ref(task.ref) != (plan.id, task.id):
            raise ValueError(f"plan {plan.id}: {task.ref} is not the ref of its task {task.id}")
        if (order := admission.first_orders.get(task.id)) is not None:
            check_move(first.state, order.decision.state)
            if (order.decision.number, order.decision.ref) != (2, task.ref):
                raise ValueError(f"plan {plan.id}: not a second decision on {task.ref}: {order.decision}")


def _sync_moves(done: Iterable[tuple[Path | None, Path]], folders: Iterable[Path]) -> None:
    """Have links durable that were moved (from, to), or made (None, to); else they are taken back, to be moved anew."""
    try:
        sync_all(folders)
    except OSError:
        for source, target in done:
            with suppress(OSError):
                target.unlink() if source is None else target.rename(source)
        raise
