"""Tasks whose attempt has ended well, in a spool without a daemon, and the words that make them final."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.support.made import NOW, make_decision, make_plan, make_result, make_task

from haikud.contracts.plan import Plan, RequestShape
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.answers.final_word import FinalWord
from haikud.engine.attempts.results import record_of
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.store import Store

ANSWERED = NOW + timedelta(seconds=200)


def spool_at(root: Path) -> Store:
    open_spool(root)
    return Store(SpoolLayout(root))


def admit_running(store: Store, *names: str, shape: RequestShape = RequestShape.TASK_REQUEST) -> Plan:
    """A plan whose tasks run, each with a result of its first attempt."""
    only = len(names) == 1
    plan = make_plan(
        *(make_task(name, ref="p" if only and name == "p" else f"p.{name}") for name in names), shape=shape
    )
    firsts = {task.id: make_decision(TaskState.QUEUED, number=1, ref=task.ref, attempt=0) for task in plan.tasks}
    store.admit(plan, b"{}", firsts)
    for task in plan.tasks:
        store.decide(make_decision(TaskState.RUNNING, number=2, ref=task.ref))
        paths = store.layout.task(task.ref).attempt(1)
        paths.folder.mkdir()
        paths.result.write_bytes(dump(make_result(ref=task.ref)))
    return plan


def final_word(store: Store, plan: Plan, name: str, *, is_last: bool, knows: bool = True) -> FinalWord:
    """That it succeeded. Not `knows`: what its attempt left is to be read from the disk."""
    task = plan.task(name)
    last = store.last_decision(task.ref)
    assert last is not None
    decision = make_decision(TaskState.SUCCEEDED, number=3, ref=task.ref, at=ANSWERED, outcome=AttemptOutcome.COMPLETED)
    record = record_of(1, make_result(ref=task.ref), None, AttemptOutcome.COMPLETED) if knows else None
    return FinalWord(store, plan, task, last, decision, is_last, record)
