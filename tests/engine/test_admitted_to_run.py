"""What may start at once is admitted with its order: one hop, one batch; launched when that is durable, and not before."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.spool.dying import every_death
from tests.support.door import Door, refused_after_the_commit
from tests.support.repository import make_repository

from haikud.contracts import gateway
from haikud.contracts.attempt import Assignment, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision, QueueState
from haikud.contracts.states import TaskState
from haikud.engine.admission.prepare import first_decisions
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.starting import Room, room_for_new, start_new, start_what_may
from haikud.engine.budgets import Purse
from haikud.engine.drops.admitting import admit_first, finish_admitted
from haikud.engine.drops.folders import open_drop_folder
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import EndKind, Handle, LaunchFailed, LaunchOrder
from haikud.engine.recovery import recover_drops
from haikud.spool import batch
from haikud.spool.layout import SpoolLayout
from haikud.spool.ledger import read_entries
from haikud.spool.models import read_model


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path)
    yield door
    door.engine.close()


def open_for_starts(door: Door, launcher: SeenLaunches | None = None, **settings: Any) -> None:
    """From now on two attempts may run."""
    door.engine.sandbox = "none"
    door.engine.settings = door.engine.settings.model_copy(update={"max_agents": 2, **settings})
    if launcher is not None:
        door.engine.launcher = launcher
    door.open()


class SeenLaunches(LocalLauncher):
    """Starts nothing, and looks at what is durable when it is asked to."""

    def __init__(self, layout: SpoolLayout, *, fails: bool = False) -> None:
        super().__init__(asyncio.get_running_loop(), lambda: None)
        self.layout = layout
        self.fails = fails
        self.names: list[str] = []

    async def start(self, order: LaunchOrder) -> Handle:
        task = self.layout.task(order.ref)
        assert read_model(task.attempt(1).spec, Spec)
        assert read_model(task.attempt(1).assignment, Assignment)
        assert task.attempt(1).out.is_dir()
        decision = read_model(task.decision(2), Decision)
        assert decision is not None
        assert (decision.state, decision.attempt) == (TaskState.RUNNING, 1)
        self.names.append(order.name)
        assert any(self.layout.incoming.iterdir())
        if self.fails:
            raise LaunchFailed("not today")
        return Handle(order.name, 1)


async def test_what_may_start_is_ordered_with_its_admission_and_launched_when_both_are_durable(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    launcher = SeenLaunches(door.layout)
    open_for_starts(door, launcher)
    rounds: list[list[str]] = []
    single: list[int] = []
    hops: list[object] = []
    write = door.engine.write

    async def counted(action: Any, *args: Any) -> Any:
        hops.append(action)
        return await write(action, *args)

    monkeypatch.setattr(batch, "sync_all", lambda paths: rounds.append([path.name for path in paths]))
    monkeypatch.setattr(os, "fsync", single.append)
    door.folder.missed = False
    door.drop("x.json", task_id="x")
    monkeypatch.setattr(door.engine, "write", counted)
    await door.take_in(at_once=True)
    assert launcher.names == ["x.1"]
    assert hops == [door.folder._scan, finish_admitted]  # what nothing waits for comes after the launch
    first, second = rounds
    files = ["request.json", "plan.json", "decision-0001.json", "decision-0002.json", "spec.json"]
    folders = ["incoming", ".x.new", "x", "attempt-1", "running", "logs"]
    assert sorted(first) == sorted([*files, *folders])
    assert second == ["plans"]
    assert single == []
    assert door.names("tasks/queued") == []
    assert door.names("tasks/running") == ["x"]
    assert door.names("incoming") == []
    entry = door.engine.board.tasks["x"]
    assert (entry.state, entry.decision.number, entry.role) == (TaskState.RUNNING, 2, "noop")
    assert entry.ends_at is not None
    door.engine.close()
    events = [one.event for one in read_entries(door.layout.plan("x"))]
    assert events == ["admitted", "decided"]


async def test_only_as_many_start_as_there_is_room_for_and_in_their_order(door: Door):
    launcher = SeenLaunches(door.layout)
    open_for_starts(door, launcher)
    for number in range(3):
        door.drop(f"x{number}.json", task_id=f"x{number}", priority="low")
    door.drop("y.json", task_id="y", priority="high")
    await door.take_in(at_once=True)
    assert launcher.names == ["x0.1", "y.1"]
    assert door.names("tasks/running") == ["x0", "y"]
    assert door.names("tasks/queued") == ["x1", "x2"]
    door.drop("z.json", task_id="z", priority="high")
    await door.take_in(at_once=True)
    assert launcher.names == ["x0.1", "y.1"]
    assert await start_what_may(door.engine, RoleLookup(door.engine.settings)) == []


@pytest.mark.parametrize("why", ["line", "pause", "drain", "questions", "fault"])
async def test_nobody_starts_before_those_who_wait_or_while_anything_holds_starts(door: Door, why: str):
    launcher = SeenLaunches(door.layout)
    door.drop("a.json", task_id="a")
    await door.take_in()  # no sandbox is known yet: it lines up
    open_for_starts(door, launcher, max_open_escalations=0 if why == "questions" else 5)
    if why != "line":
        (entry,) = door.engine.board.tasks.values()
        door.engine.board.take_off(entry)
    if why == "pause":
        door.engine.queue = QueueState(paused=True)
    if why == "drain":
        door.engine.stopping.draining = True
    if why == "fault":
        door.engine.trouble.note("something", OSError(errno.EACCES, "no"))
    door.drop("b.json", task_id="b")
    await door.take_in(at_once=True)
    assert launcher.names == []
    assert door.names("tasks/queued") == ["a", "b"]


@pytest.mark.parametrize("why", ["due again", "the day has room", "its dependency has succeeded"])
async def test_nobody_starts_before_those_who_line_up_later_in_the_same_round(door: Door, why: str):
    launcher = SeenLaunches(door.layout)
    door.drop("a.json", task_id="a")
    await door.take_in()
    open_for_starts(door, launcher)
    engine = door.engine
    (entry,) = engine.board.tasks.values()
    engine.day_may_have_room = why == "the day has room"
    if why == "its dependency has succeeded":
        await engine.decide(entry, TaskState.RUNNING, "attempt 1 as somebody", attempt=1)
        engine.board.plans["a"].states["another"] = TaskState.WAITING
        engine.board.touched.add("a")
    else:
        seconds = 0 if why == "due again" else 3_600
        due = utc_now() + timedelta(seconds=seconds)
        await engine.decide(entry, TaskState.DEFERRED, "later", retry_at=due)
    door.drop("b.json", task_id="b")
    await door.take_in(at_once=True)
    assert launcher.names == []
    assert door.names("tasks/queued") == ["b"]


async def test_who_is_put_off_and_not_due_keeps_nobody_from_starting(door: Door):
    launcher = SeenLaunches(door.layout)
    door.drop("a.json", task_id="a")
    await door.take_in()
    open_for_starts(door, launcher)
    (entry,) = door.engine.board.tasks.values()
    door.engine.day_may_have_room = False
    await door.engine.decide(entry, TaskState.DEFERRED, "later", retry_at=utc_now() + timedelta(hours=1))
    door.engine.board.touched.add("a")  # nobody of it waits
    door.drop("b.json", task_id="b")
    await door.take_in(at_once=True)
    assert launcher.names == ["b.1"]


async def test_whose_start_is_not_decided_at_once_lines_up_and_so_do_those_behind_him(door: Door, tmp_path: Path):
    launcher = SeenLaunches(door.layout)
    open_for_starts(door, launcher, repositories=[str(tmp_path / "project")])
    where = {"repository": str(make_repository(tmp_path / "project")), "role": "parallel-task-executor"}
    door.drop("warm.json", task_id="warm", **where)
    await door.take_in(at_once=True)
    assert launcher.names == ["warm.1"]  # without a credential there is nobody to be asked for money
    door.engine.board.take_off(door.engine.board.tasks["warm"])
    door.engine.settings = door.engine.settings.model_copy(update={"repositories": [str(tmp_path / "other")]})
    plan = door.engine.store.plan("warm")
    assert plan is not None
    room = room_for_new(door.engine)
    assert room is not None
    decisions = first_decisions(plan, plan.admitted_at)
    roles = RoleLookup(door.engine.settings)
    roles.catalogue()
    assert start_new(door.engine, roles, [(plan, decisions)], room) == []


async def test_where_the_batch_fails_nothing_has_started_and_each_is_admitted_by_itself(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    launcher = SeenLaunches(door.layout)
    open_for_starts(door, launcher)
    door.drop("x.json", task_id="x")
    door.drop("y.json", task_id="y")
    real, broken = os.fsync, True

    def refuse(descriptor: int) -> None:
        nonlocal broken
        if broken and Path(f"/proc/self/fd/{descriptor}").readlink().name == "attempt-1":
            broken = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="attempt-1"):  # and with it perhaps their taken names
        await door.take_in(at_once=True)
    assert (launcher.names, door.names("plans"), door.names("tasks/running")) == ([], [], [])
    assert door.names("incoming") == ["x.json", "y.json"]
    await door.take_in(at_once=True)
    assert launcher.names == ["x.1", "y.1"]


async def test_a_runner_that_cannot_be_launched_comes_back_to_be_settled(door: Door):
    open_for_starts(door, SeenLaunches(door.layout, fails=True))
    door.drop("x.json", task_id="x")
    await door.take_in(at_once=True)
    ((entry, end),) = door.intake.not_started
    assert (entry.ref, entry.state, end.kind) == ("x", TaskState.RUNNING, EndKind.NOT_STARTED)


async def test_a_start_that_cannot_be_taken_back_is_settled_as_one_that_never_began(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    launcher = SeenLaunches(door.layout)
    open_for_starts(door, launcher)
    door.drop("x.json")
    with refused_after_the_commit(monkeypatch), pytest.raises(OSError, match="plans"):
        await door.take_in(at_once=True)
    await door.take_in()
    ((entry, end),) = door.intake.not_started
    assert (entry.ref, entry.state, end.kind) == ("x", TaskState.RUNNING, EndKind.NEVER_LAUNCHED)
    assert launcher.names == []
    assert door.names("incoming") == []


async def test_killed_at_any_step_a_start_is_ordered_whole_or_not_at_all(door: Door):
    open_for_starts(door)
    roles, engine, layout = RoleLookup(door.engine.settings), door.engine, door.layout
    room = Room([], 2, Purse(gateway.Purse.DAY, 1.0, 0.0), None)

    def group(number: int) -> Callable[[], object]:
        for one in "abc":
            door.drop(f"x{number}{one}.json")
        drops = open_drop_folder(layout.incoming, engine.settings)
        return lambda: admit_first(engine, drops, roles, drops.scan(sync=False).ready, {}, room)

    seen: set[tuple[TaskState | None, ...]] = set()
    for number, _ in every_death(group):
        engine.store.recover_builds()
        engine.store.drop_links_without_plan()
        states: list[TaskState | None] = []
        for one in "abc":
            ref = f"x{number}{one}"
            last = engine.store.last_decision(ref)
            states.append(last.state if last else None)
            assert engine.store.linked_state(ref) == states[-1]
            if last is not None and last.state is TaskState.RUNNING:
                assert [one.number for one in engine.store.decisions(ref)] == [1, 2]
                assert read_model(layout.task(ref).attempt(1).spec, Spec)
        seen.add(tuple(states))
        door.open()
        await recover_drops(engine, door.folder.drops, [])
        for one in list(layout.incoming.iterdir()):
            one.unlink()
    running, queued = TaskState.RUNNING, TaskState.QUEUED
    assert seen == {(None,) * 3, (running, None, None), (running, running, None), (running, running, queued)}
