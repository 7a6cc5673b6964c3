"""A start: all that the runner needs is durable with the decision, before anything is launched, in one hop."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import made_engine
from tests.support.laid_out import lay_out_tasks, make_plan

from haikud.contracts.attempt import Assignment, Spec
from haikud.contracts.decision import QueueState
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.starting import start_what_may
from haikud.engine.engine import Engine
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import Handle, LaunchOrder
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import read_model

REF = "p0"


class SeenLaunches(LocalLauncher):
    """Starts nothing, and looks at what is there when it is asked to."""

    def __init__(self, layout: SpoolLayout) -> None:
        super().__init__(asyncio.get_running_loop(), lambda: None)
        self.layout = layout
        self.seen: list[tuple[str, list[str], TaskState]] = []

    async def start(self, order: LaunchOrder) -> Handle:
        task = self.layout.task(order.ref)
        there = sorted(path.name for path in order.folder.iterdir())
        state = next(state for state in TaskState if self.layout.link(state, order.ref).is_symlink())
        assert task.decision(2).exists()
        self.seen.append((order.name, there, state))
        return Handle(order.name)


def an_engine(layout: SpoolLayout) -> Engine:
    """With one queued task on its board, and a launcher that launches nothing."""
    engine = made_engine(layout, lambda _: None, sandbox="none")
    engine.settings = Settings.model_validate({"min_free_bytes": 0})
    engine.launcher, engine.queue = SeenLaunches(layout), QueueState()
    plan = make_plan(REF, 1)
    decision = engine.store.last_decision(REF)
    assert decision is not None
    engine.board.add_plan(plan, {REF: TaskState.QUEUED}, {})
    task = plan.tasks[0].model_copy(update={"repository": None, "workspace": "none"})
    engine.board.add_task(plan, task, decision)
    return engine


def start(layout: SpoolLayout, watch: Callable[[Engine], None] = lambda _: None) -> SeenLaunches:
    """One round of starting."""

    async def work() -> SeenLaunches:
        engine = an_engine(layout)
        try:
            roles = RoleLookup(engine.settings)
            roles.catalogue()
            watch(engine)
            assert await start_what_may(engine, roles) == []
            launcher = engine.launcher
            assert isinstance(launcher, SeenLaunches)
            return launcher
        finally:
            engine.close()

    return asyncio.run(work())


@pytest.fixture
def layout(tmp_path: Path) -> SpoolLayout:
    return lay_out_tasks(tmp_path / "spool", 1, 1)


WHOLE = [(f"{REF}.1", ["assignment.json", "out", "spec.json"], TaskState.RUNNING)]


def test_a_start_is_one_hop_with_two_rounds_of_fsyncs_and_nothing_is_launched_before(
    layout: SpoolLayout, monkeypatch: pytest.MonkeyPatch
):
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    hops: list[object] = []

    def watch(engine: Engine) -> None:
        write = engine.write

        async def counted(action: Any, *args: Any) -> Any:
            hops.append(action)
            return await write(action, *args)

        async def none_aside(action: Any, *_: Any) -> None:
            pytest.fail(f"a thread for {action}")

        monkeypatch.setattr(engine, "write", counted)
        monkeypatch.setattr(engine, "aside", none_aside)

    assert start(layout, watch).seen == WHOLE
    assert len(hops) == 1
    assert len(synced) == 4
    assert "attempt-1" in synced
    assert synced[-1] == REF  # the names, once all that they lead to is durable
    attempt = layout.task(REF).attempt(1)
    spec = read_model(attempt.spec, Spec)
    assert spec is not None
    assert (spec.attempt, spec.ref) == (1, REF)
    assert read_model(attempt.assignment, Assignment) is not None


def test_what_a_try_before_has_left_is_replaced(layout: SpoolLayout):
    attempt = layout.task(REF).attempt(1)
    attempt.out.mkdir(parents=True)
    for path in (attempt.spec, attempt.assignment, attempt.orders):
        path.write_bytes(b"{ of a try that was cut short")
    assert start(layout).seen == WHOLE
    assert read_model(attempt.spec, Spec) is not None


@pytest.mark.parametrize("fails_at", [1, 4])
def test_a_start_whose_fsync_fails_has_not_happened_and_is_made_anew(
    layout: SpoolLayout, monkeypatch: pytest.MonkeyPatch, fails_at: int
):
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert start(layout).seen == []
    assert not layout.task(REF).decision(2).exists()
    assert start(layout).seen == WHOLE
