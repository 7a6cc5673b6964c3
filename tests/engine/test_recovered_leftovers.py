"""What a daemon leaves that is killed while it finishes a task that was never tried: the next one clears it."""

from __future__ import annotations

from pathlib import Path

from tests.spool.dying import every_death
from tests.support.engines import made_engine
from tests.support.laid_out import lay_out_tasks

from haikud.contracts.base import utc_now
from haikud.contracts.states import TaskState
from haikud.engine.answers.final_word import FinalWord, write_final_word
from haikud.engine.engine import next_decision
from haikud.engine.recovery import recover_tasks
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Store


def finish(layout: SpoolLayout) -> None:
    store = Store(layout)
    plan, last = store.plan("p0"), store.last_decision("p0")
    assert plan is not None
    assert last is not None
    decision = next_decision(last, TaskState.CANCELLED, "cancelled", utc_now())
    write_final_word(FinalWord(store, plan, plan.tasks[0], last, decision, is_last=True))


def left(layout: SpoolLayout) -> list[str]:
    return sorted(path.name for path in layout.root.rglob("*.tmp"))


async def test_killed_at_any_step_of_finishing_a_task_that_was_never_tried_nothing_is_left(tmp_path: Path):
    def layout(number: int) -> SpoolLayout:
        return SpoolLayout(tmp_path / str(number))

    def work(number: int):
        lay_out_tasks(tmp_path / str(number), 1, 1)
        return lambda: finish(layout(number))

    were: set[str] = set()
    for number, _ in every_death(work):
        were |= {name.split(".json")[0] for name in left(layout(number))}
        engine = made_engine(layout(number), lambda _: None)
        try:
            await recover_tasks(engine)
        finally:
            engine.close()
        assert left(layout(number)) == [], f"killed before change {number}"
    assert {".response", ".decision-0002"} <= were, "or nothing of this was tried"
