"""status.json's text is made of parts that are kept: it says what the whole says, masked, whatever has changed."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import made_engine
from tests.support.laid_out import first_decision, make_plan
from tests.support.made import NOW

from haikud.contracts.role_history import FinishedTask
from haikud.contracts.states import TaskState
from haikud.engine import live_status
from haikud.engine.engine import Engine, next_decision
from haikud.engine.live_status import StatusWriter, picture
from haikud.engine.machine.status_text import StatusText
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump

SECRET = "sk-ant-api03-" + "aB3" * 30


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    open_spool(tmp_path)
    monkeypatch.setattr(live_status, "utc_now", lambda: NOW)
    made = made_engine(SpoolLayout(tmp_path), lambda _: None)
    yield made
    made.close()


def admit(engine: Engine, plan_id: str, tasks: int, **fields: Any) -> None:
    plan = make_plan(plan_id, tasks)
    plan = plan.model_copy(update={"tasks": [task.model_copy(update=fields) for task in plan.tasks]})
    engine.board.add_plan(plan, {task.id: TaskState.QUEUED for task in plan.tasks}, {})
    for task in plan.tasks:
        engine.board.add_task(plan, task, first_decision(task))


async def test_it_is_the_same_as_the_whole_written_out_after_each_change(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    known: live_status.Known = {}
    sight, text = live_status.Sight(), StatusText()

    def look() -> list[bytes]:
        status = picture(engine, NOW, "inotify", known=known, sight=sight)
        assert status == picture(engine, NOW, "inotify")  # nothing of it is old
        parts = text.parts(status)
        assert text.text(status) == dump(status)
        return parts

    seen = [look()]
    admit(engine, "p", 3)
    admit(engine, "q", 1, title='A title with "elapsed_seconds": 0.0 in it,\n  "plans": [] and more')
    seen.append(look())
    entry = engine.board.tasks["p.t1"]
    engine.board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
    seen.append(look())
    entry.progress.cost_usd, entry.progress.percent = 0.25, 50
    seen.append(look())
    engine.role_history.add(entry.role, FinishedTask(cost_usd=0.04, seconds=300))
    seen.append(look())
    engine.board.count_money(engine.board.plans["p"], "t1", 0.5, 1.0)
    seen.append(look())
    engine.board.move(entry, next_decision(entry.decision, TaskState.DEFERRED, "later", NOW, retry_at=NOW))
    entry.spent_usd = 0.5
    seen.append(look())
    assert all(one != other for one, other in pairwise(seen))
    assert look() == seen[-1]
    monkeypatch.setattr(live_status, "utc_now", lambda: NOW + timedelta(seconds=9))
    assert look() == seen[-1]  # a clock that ticks is no change


async def test_secrets_in_titles_are_masked_in_what_is_kept_and_in_what_is_new(engine: Engine):
    admit(engine, "p", 1, title=f"Use {SECRET}")
    text = StatusText()
    for _ in range(2):
        status = picture(engine, NOW, "")
        text.parts(status)
        assert text.text(status) == dump(status)
        assert SECRET.encode() not in text.text(status)


async def test_of_thousands_only_those_that_changed_are_written_out_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    for number in range(300):
        admit(engine, f"p{number}", 1)
    writer = StatusWriter(engine, NOW, "inotify")
    await writer.work()
    first = engine.layout.status_file.read_bytes()
    entry = engine.board.tasks["p3"]
    engine.board.move(entry, next_decision(entry.decision, TaskState.PAUSED, "wait", NOW))
    written: list[str] = []
    before = live_status.task_status
    monkeypatch.setattr(live_status, "task_status", lambda *of: written.append(of[1].ref) or before(*of))
    await writer.work(ended=True)
    assert written == ["p3"]
    assert engine.layout.status_file.read_bytes() != first


async def test_where_making_it_takes_long_it_is_made_less_often(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    seconds = iter([10.0, 10.1, 20.0, 20.001])
    monkeypatch.setattr(live_status.time, "thread_time", lambda: next(seconds))
    monkeypatch.setattr(engine, "clock", lambda: 100.0)
    writer = StatusWriter(engine, NOW, "inotify")
    await writer.work()
    assert writer.due_at() == pytest.approx(105.0)
    await writer.work(ended=True)
    assert writer.due_at() == 101.0
