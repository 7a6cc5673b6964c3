"""The queue's order: a task that comes again after a failure lines up behind those that wait already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.spool.records import make_response
from tests.support.made import NOW, make_decision, make_plan, make_task

from haikud.contracts.states import AttemptOutcome, Priority, TaskState
from haikud.engine.board import Board, OpenTask, Published

State, Out = TaskState, AttemptOutcome


class Queue:
    """A board with three tasks, the first one the oldest; each step is a second later."""

    def __init__(self, first: Priority = Priority.MEDIUM) -> None:
        self.board, self.seconds, self.number = Board(), 0, 3
        tasks = [make_task("a", priority=first), make_task("b"), make_task("c")]
        plan = make_plan(*tasks)
        self.board.add_plan(plan, dict.fromkeys("abc", State.QUEUED), {})
        for task in tasks:
            self.board.add_task(plan, task, make_decision(State.QUEUED, ref=task.ref, attempt=0))

    def step(self, name: str, state: State, **fields: Any) -> OpenTask:
        self.seconds += 1
        self.number += 1
        entry = self.board.tasks[f"p.{name}"]
        at = NOW + timedelta(seconds=self.seconds)
        self.board.move(entry, make_decision(state, number=self.number, ref=entry.ref, at=at, **fields))
        return entry

    @property
    def order(self) -> str:
        return "".join(one.ref.removeprefix("p.") for one in self.board.line)


def test_a_task_that_fails_each_time_lets_every_other_have_its_turn():
    """One place, no waits, and the failing one is the oldest: it would come first each time."""
    queue, started = Queue(), ""
    for _ in range(5):
        name = queue.order[0]
        started += name
        queue.step(name, State.RUNNING)
        if name == "a":
            queue.step("a", State.DEFERRED, outcome=Out.EXITED_WITH_ERROR, failures=1)
            queue.step("a", State.QUEUED, failures=1)
        else:
            queue.step(name, State.SUCCEEDED, outcome=Out.COMPLETED)
    assert started == "abcaa"


@pytest.mark.parametrize("outcome", [Out.KILLED, Out.ORPHANED, Out.BAD_RESULT])
def test_so_does_one_whose_runner_vanishes_each_time(outcome: Out):
    queue = Queue()
    queue.step("a", State.RUNNING)
    queue.step("a", State.QUEUED, outcome=outcome, orphans=1)
    assert queue.order == "bca"


def test_so_does_one_that_the_accounts_limits_stop_each_time():
    queue = Queue()
    queue.step("a", State.RUNNING)
    queue.step("a", State.DEFERRED, outcome=Out.QUOTA)
    queue.step("a", State.QUEUED)
    assert queue.order == "bca"


@pytest.mark.parametrize(("state", "fields"), [(State.PAUSED, {}), (State.ESCALATED, {"outcome": Out.ESCALATED})])
def test_a_task_that_waited_for_a_person_keeps_its_place(state: State, fields: dict[str, Any]):
    queue = Queue()
    queue.step("a", State.RUNNING)
    queue.step("a", state, **fields)
    queue.step("a", State.QUEUED)
    assert queue.order == "abc"


def test_an_attempt_that_a_stop_interrupted_keeps_its_place():
    queue = Queue()
    queue.step("a", State.RUNNING)
    queue.step("a", State.QUEUED, outcome=Out.INTERRUPTED)
    assert queue.order == "abc"


def test_priority_still_goes_first():
    queue = Queue(Priority.HIGH)
    queue.step("a", State.RUNNING)
    queue.step("a", State.DEFERRED, outcome=Out.EXITED_WITH_ERROR, failures=1)
    assert queue.order == "bc"
    queue.step("a", State.QUEUED, failures=1)
    assert queue.order == "abc"
    queue.step("a", State.RUNNING)
    assert queue.order == "bc"


def test_a_retried_task_has_published_nothing_whatever_its_last_decision_had():
    queue = Queue()
    entry = queue.step("a", State.RUNNING)
    queue.step("a", State.FAILED)
    entry.published, entry.linked = Published(make_response(), None), State.RUNNING
    queue.step("a", State.QUEUED)
    assert (entry.published, entry.linked) == (None, None)
