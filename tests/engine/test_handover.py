"""From an end to the next start in one batch: two rounds of fsyncs, and nothing before what justifies it is durable."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import made_engine
from tests.support.laid_out import lay_out_tasks, make_plan
from tests.support.made import make_result

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision, QueueState
from haikud.contracts.gateway import Pause
from haikud.contracts.settings import Settings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.contracts.usage import UsageTotal
from haikud.engine.answers.finishing import MARKING, mark_published, publish_answers
from haikud.engine.attempts.aftermath import Aftermath
from haikud.engine.attempts.endings import Endings
from haikud.engine.attempts.handover import HandedOver, hand_over
from haikud.engine.attempts.results import record_of
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.settlement import settle_attempt
from haikud.engine.board import OpenTask
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import Handle, LaunchOrder
from haikud.engine.policy import Ending
from haikud.spool.layout import SpoolLayout

ANSWERED, ENDING, NEXT, LATER = "p0", "p1", "p2", "p3"


class Disk:
    """What is done to the spool, in order: (what, path); fsyncs that follow each other are one round."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: list[tuple[str, str]] = []
        self.failing: Callable[[str], bool] = lambda _: False

    def note(self, what: str, path: Any) -> None:
        self.done.append((what, str(path).removeprefix(f"{self.root}/")))

    def at(self, what: str, ending: str) -> int:
        return next(place for place, one in enumerate(self.done) if one[0] == what and one[1].endswith(ending))

    @property
    def rounds(self) -> list[list[str]]:
        found: list[list[str]] = []
        before = ""
        for what, path in self.done:
            if what == "fsync":
                found = found if before == what else [*found, []]
                found[-1].append(path)
            before = what
        return found


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path / "spool")
    real_fsync, real_link, real_rename = os.fsync, os.link, os.rename

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        disk.note("fsync", path)
        if disk.failing(path):
            raise OSError(errno.EIO, "the disk is broken")
        real_fsync(descriptor)

    def link(source: Any, target: Any, **how: Any) -> None:
        real_link(source, target, **how)
        disk.note("name", target)

    def rename(source: Any, target: Any) -> None:
        real_rename(source, target)
        disk.note("name", target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "rename", rename)
    return disk


class SeenLaunches(LocalLauncher):
    """Starts nothing, and tells when it is asked to."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(asyncio.get_running_loop(), lambda: None)
        self._disk = disk

    async def start(self, order: LaunchOrder) -> Handle:
        self._disk.note("launch", order.name)
        return Handle(order.name)


class Stage:
    """Two slots: one task was answered and is not marked yet, one attempt has ended, two tasks wait in line."""

    def __init__(self, disk: Disk, **settings: Any) -> None:
        layout = lay_out_tasks(disk.root, 4, 1, paused=False)
        self.engine = made_engine(layout, lambda _: None, sandbox="none")
        self.engine.settings = Settings.model_validate({"min_free_bytes": 0, "max_agents": 1, **settings})
        self.engine.launcher = SeenLaunches(disk)
        self.roles = RoleLookup(self.engine.settings)
        self.roles.catalogue()
        for ref in (ANSWERED, ENDING, NEXT, LATER):
            decision = self.engine.store.last_decision(ref)
            plan = make_plan(ref, 1)
            task = plan.tasks[0].model_copy(update={"repository": None, "workspace": "none", "branch": None})
            plan = plan.model_copy(update={"tasks": [task]})
            assert decision is not None
            self.engine.board.add_plan(plan, {ref: TaskState.QUEUED}, {})
            self.engine.board.add_task(plan, task, decision)

    def entry(self, ref: str) -> OpenTask:
        return self.engine.board.tasks[ref]

    async def run(self, ref: str) -> None:
        entry = self.entry(ref)
        await self.engine.decide(entry, TaskState.RUNNING, "attempt 1 as somebody", attempt=1)
        paths = self.engine.layout.task(ref).attempt(1)
        paths.folder.mkdir()

    async def over(self, ref: str, **fields: Any) -> Aftermath:
        """It runs, and has ended well."""
        await self.run(ref)
        result = make_result(ref=ref, usage=UsageTotal(), usage_by_model={})
        record = record_of(1, result, None, AttemptOutcome.COMPLETED)
        ending = Ending(AttemptOutcome.COMPLETED)
        return Aftermath(ref, 1, ending, result=result, record=record, is_durable=True, **fields)

    async def answer(self, ref: str) -> None:
        """It is answered already, and its mark is missing."""
        await settle_attempt(self.engine, await self.over(ref))

    async def hand_over(self, *aftermaths: Aftermath) -> HandedOver:
        return await hand_over(self.engine, self.roles, aftermaths)

    def decision(self, ref: str) -> Decision | None:
        return self.engine.store.last_decision(ref)


def play(disk: Disk, scene: Callable[[Stage], Awaitable[None]], **settings: Any) -> None:
    async def work() -> None:
        stage = Stage(disk, **settings)
        try:
            await scene(stage)
        finally:
            stage.engine.close()

    asyncio.run(work())


def published(layout: SpoolLayout) -> list[str]:
    return sorted(path.name for path in layout.responses.iterdir())


def test_an_end_the_next_start_and_an_earlier_mark_are_two_rounds_in_one_hop(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    async def scene(stage: Stage) -> None:
        await stage.answer(ANSWERED)
        aftermath = await stage.over(ENDING)
        hops: list[object] = []
        write = stage.engine.write

        async def counted(action: Any, *args: Any) -> Any:
            hops.append(action)
            return await write(action, *args)

        monkeypatch.setattr(stage.engine, "write", counted)
        disk.done.clear()
        done = await stage.hand_over(aftermath)
        assert (done.settled, done.failed, len(hops)) == ([aftermath], [], 1)
        assert [entry.ref for entry in stage.engine.board.in_state(TaskState.RUNNING)] == [NEXT]
        assert ANSWERED not in stage.engine.board.tasks
        assert stage.engine.store.linked_state(ANSWERED) is TaskState.SUCCEEDED
        assert stage.entry(ENDING).state is TaskState.SUCCEEDED
        assert published(stage.engine.layout) == [f"{ANSWERED}.json", f"{ENDING}.json"]
        assert json.loads((stage.engine.layout.responses / f"{ENDING}.json").read_bytes())["status"] == "success"

    play(disk, scene)
    first, second = disk.rounds
    assert len(first) == 7  # decision, answer, their two folders; the next decision, the order and its folder
    assert set(second) == {"responses", f"plans/{NEXT}/{NEXT}", "tasks/running", "tasks/succeeded"}
    final, order = f"{ENDING}/decision-0003.json", "spec.json"
    begin = disk.at("name", f"responses/{ENDING}.json")
    assert disk.at("fsync", final) < begin
    assert disk.at("fsync", f"plans/{ENDING}/{ENDING}") < begin
    assert disk.at("fsync", order) < disk.at("name", f"{NEXT}/decision-0002.json")
    assert disk.at("fsync", f"plans/{NEXT}/{NEXT}") < disk.at("launch", f"{NEXT}.1")
    assert disk.at("launch", f"{NEXT}.1") > disk.at("fsync", "responses")


def test_attempts_that_end_at_once_are_settled_together_and_each_slot_has_its_next(disk: Disk):
    async def scene(stage: Stage) -> None:
        overs = [await stage.over(ANSWERED), await stage.over(ENDING)]
        disk.done.clear()
        done = await stage.hand_over(*overs)
        assert done.settled == overs
        assert sorted(entry.ref for entry in stage.engine.board.in_state(TaskState.RUNNING)) == [NEXT, LATER]
        assert published(stage.engine.layout) == [f"{ANSWERED}.json", f"{ENDING}.json"]

    play(disk, scene, max_agents=2)
    assert len(disk.rounds) == 2


@pytest.mark.parametrize("broken", ["spec.json", "decision-0003.json", f"plans/{ENDING}"])
def test_where_the_first_round_fails_nothing_has_happened_and_the_end_is_settled_by_itself(disk: Disk, broken: str):
    async def scene(stage: Stage) -> None:
        aftermath = await stage.over(ENDING)
        before = stage.decision(ENDING), stage.decision(NEXT)
        disk.failing = lambda path: path.endswith(broken)
        disk.done.clear()
        done = await stage.hand_over(aftermath)
        disk.failing = lambda _: False
        assert done.settled == []
        assert (stage.decision(ENDING), stage.decision(NEXT)) == before
        assert published(stage.engine.layout) == []
        assert not [one for one in disk.done if one[0] == "launch"]
        await settle_attempt(stage.engine, aftermath)
        assert published(stage.engine.layout) == [f"{ENDING}.json"]

    play(disk, scene)


@pytest.mark.parametrize("broken", ["responses", f"plans/{NEXT}/{NEXT}", "tasks/succeeded"])
def test_where_the_second_round_fails_the_final_decision_holds_and_all_else_is_done_again(disk: Disk, broken: str):
    async def scene(stage: Stage) -> None:
        await stage.answer(ANSWERED)
        aftermath = await stage.over(ENDING)
        disk.failing = lambda path: (
            path.endswith(broken)
            and any(one == ("fsync", f"plans/{ENDING}/{ENDING}/decision-0003.json") for one in disk.done)
        )
        disk.done.clear()
        done = await stage.hand_over(aftermath)
        disk.failing = lambda _: False
        final = stage.decision(ENDING)
        assert done.settled == [aftermath]
        assert final is not None
        assert final.state is TaskState.SUCCEEDED
        assert not [one for one in disk.done if one[0] == "launch"]
        assert stage.entry(NEXT).state is TaskState.QUEUED
        assert stage.decision(NEXT) == stage.entry(NEXT).decision
        assert published(stage.engine.layout) == [f"{ANSWERED}.json"]
        assert stage.engine.store.linked_state(ANSWERED) is TaskState.RUNNING
        await publish_answers(stage.engine)
        await mark_published(stage.engine)
        assert published(stage.engine.layout) == [f"{ANSWERED}.json", f"{ENDING}.json"]
        assert {stage.engine.store.linked_state(ref) for ref in (ANSWERED, ENDING)} == {TaskState.SUCCEEDED}

    play(disk, scene)


def test_who_waits_for_a_task_that_ends_is_not_overtaken(disk: Disk):
    async def scene(stage: Stage) -> None:
        aftermath = await stage.over(ENDING)
        stage.engine.board.plans[ENDING].states["another"] = TaskState.WAITING
        done = await stage.hand_over(aftermath)
        assert done.settled == [aftermath]
        assert stage.engine.board.in_state(TaskState.RUNNING) == []

    play(disk, scene)


@pytest.mark.parametrize("why", ["due again", "its dependency has succeeded"])
def test_who_lines_up_later_in_the_same_round_is_not_overtaken(disk: Disk, why: str):
    async def scene(stage: Stage) -> None:
        aftermath = await stage.over(ENDING)
        engine, other = stage.engine, stage.entry(ANSWERED)
        engine.day_may_have_room = False
        if why == "due again":
            await engine.decide(other, TaskState.DEFERRED, "later", retry_at=utc_now())
        else:
            await engine.decide(other, TaskState.RUNNING, "attempt 1 as somebody", attempt=1)
            engine.board.plans[ANSWERED].states["another"] = TaskState.WAITING
            engine.board.touched.add(ANSWERED)
        done = await stage.hand_over(aftermath)
        assert done.settled == [aftermath]
        assert stage.entry(NEXT).state is TaskState.QUEUED
        assert not [one for one in disk.done if one[0] == "launch"]

    play(disk, scene, max_agents=2)


@pytest.mark.parametrize("why", ["the account", "the queue", "a fault"])
def test_nobody_starts_with_an_end_while_anything_holds_starts(disk: Disk, why: str):
    async def scene(stage: Stage) -> None:
        aftermath = await stage.over(ENDING)
        if why == "the account":  # the gateway has said so just now: the queue follows it later in the round
            stage.engine.gateway.pause = Pause(until=utc_now() + timedelta(hours=1), reason="no credit", kind="billing")
        elif why == "the queue":
            stage.engine.queue = QueueState(paused=True)
        else:
            stage.engine.trouble.note("something", OSError(errno.EACCES, "no"))
        done = await stage.hand_over(aftermath)
        assert done.settled == [aftermath]
        assert stage.engine.board.in_state(TaskState.RUNNING) == []
        assert not [one for one in disk.done if one[0] == "launch"]

    play(disk, scene)


def test_a_mark_that_could_not_be_made_just_now_is_in_nobodys_batch_and_calls_for_no_round(disk: Disk):
    async def scene(stage: Stage) -> None:
        await stage.answer(ANSWERED)
        aftermath = await stage.over(ENDING)
        await stage.run(NEXT)
        stage.engine.trouble.note(MARKING, OSError(errno.EIO, "the disk is broken"))
        endings = Endings(stage.engine, stage.roles)
        await endings.mark()
        assert endings.mark_at is None
        disk.done.clear()
        assert (await stage.hand_over(aftermath)).settled == [aftermath]
        assert published(stage.engine.layout) == [f"{ANSWERED}.json", f"{ENDING}.json"]
        assert not [path for what, path in disk.done if what == "fsync" and path.startswith("tasks/")]

    play(disk, scene)


def test_what_has_to_be_made_durable_before_is_settled_by_itself(disk: Disk):
    async def scene(stage: Stage) -> None:
        seen = await stage.over(ENDING)
        seen = Aftermath(ENDING, 1, seen.ending, result=seen.result, record=seen.record, is_durable=False)
        assert (await stage.hand_over(seen)).settled == []
        spent = Aftermath(ENDING, 1, seen.ending, UsageTotal(cost_usd=1.0), record=seen.record)
        assert (await stage.hand_over(spent)).settled == []
        stale = Aftermath(ENDING, 7, seen.ending)
        assert (await stage.hand_over(stale)).settled == []
        decision = stage.decision(ENDING)
        assert decision is not None
        assert decision.at <= utc_now() + timedelta(seconds=1)
        assert decision.state is TaskState.RUNNING

    play(disk, scene)


def test_where_the_machine_refuses_to_start_the_next_one_what_has_ended_is_told_all_the_same(disk: Disk):
    async def refuse(order: LaunchOrder) -> Handle:
        raise OSError(errno.EMFILE, f"no descriptor is left for {order.name}")

    async def scene(stage: Stage) -> None:
        aftermath = await stage.over(ENDING)
        stage.engine.launcher.start = refuse  # type: ignore[method-assign]
        with pytest.raises(OSError, match="no descriptor is left"):
            await stage.hand_over(aftermath)
        entry = stage.entry(ENDING)
        assert (entry.state, entry.handle) == (TaskState.SUCCEEDED, None)
        assert entry.published is not None
        assert stage.entry(ANSWERED).state is TaskState.RUNNING  # the first in line here

    play(disk, scene)
