"""What a daemon takes up: every open task when it starts, nothing of what is finished, and a mended plan as a whole."""

from __future__ import annotations

import _thread
from pathlib import Path

import pytest
from tests.support.engines import made_engine
from tests.support.house import House
from tests.support.laid_out import lay_out_tasks
from tests.support.waiting import wait_until

from haikud.contracts.base import utc_now
from haikud.contracts.states import TaskState
from haikud.engine.engine import next_decision
from haikud.engine.recovery import recover_unread

FINISHED, OPEN = 30, 20


@pytest.fixture
def house(tmp_path: Path):
    built = House(tmp_path)
    yield built
    built.close()


def test_a_start_takes_up_all_open_tasks_and_reads_nothing_of_a_finished_plan(house: House):
    layout = lay_out_tasks(house.spool, FINISHED, 1, name="done")
    for number in range(FINISHED):
        ref = f"done{number}"
        layout.link(TaskState.QUEUED, ref).rename(layout.link(TaskState.SUCCEEDED, ref))
        for path in (layout.plan(ref).plan, layout.task(ref).decision(1)):
            path.write_bytes(b"{ not even JSON")  # whoever reads this, says so
    lay_out_tasks(house.spool, OPEN, 1, name="open")
    house.start()
    status = wait_until(lambda: house.read("status.json"), what="the status")
    assert status["counts"]["queued"] == OPEN
    assert f"recovered {OPEN} open tasks" in house.said()
    assert "done" not in house.said()
    assert status["trouble"] == []


async def test_a_mended_plan_that_the_machine_did_not_let_us_take_up_is_taken_up_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = made_engine(lay_out_tasks(tmp_path / "spool", 1, 3), lambda _: None)
    first = engine.store.last_decision("p0.t1")
    assert first is not None
    engine.store.decide(next_decision(first, TaskState.RUNNING, "attempt 1", utc_now(), attempt=1))
    engine.unread.add("p0")

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as refused:
        refused.setattr(_thread, "start_new_thread", refuse)
        with pytest.raises(BlockingIOError):
            [one async for one in recover_unread(engine)]
    assert engine.unread == {"p0"}
    assert not engine.board.tasks
    gone = [entry.ref async for entry, _ in recover_unread(engine)]
    assert gone == ["p0.t1"]
    assert set(engine.board.tasks) == {"p0.t0", "p0.t1", "p0.t2"}
    assert not engine.unread
    engine.close()
