"""What a daemon reads when it starts: every open task, and nothing of what is finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.house import House
from tests.support.laid_out import lay_out_tasks
from tests.support.waiting import wait_until

from haikud.contracts.states import TaskState

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
