"""The guide's cost block in status.json: what is spent, what it will come to, and what that is from."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.engines import made_engine
from tests.support.made import NOW, make_plan, make_task

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.contracts.decision import Decision
from haikud.contracts.live import LiveStatus, PlanStatus, RunningCosts, TaskStatus
from haikud.contracts.role_history import FinishedTask
from haikud.contracts.states import TaskState
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.engine import live_status, running_costs
from haikud.engine.attempts.results import Used
from haikud.engine.attempts.tail import advance
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine, next_decision
from haikud.engine.live_status import finished_status, picture, task_status
from haikud.engine.machine.status_file import fitting
from haikud.engine.machine.status_text import StatusText
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump

ROLE = "parallel-task-executor"
HAIKU = "claude-haiku-5-5"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Two minutes after the plans were admitted."""
    later = NOW + timedelta(minutes=2)
    monkeypatch.setattr(live_status, "utc_now", lambda: later)
    return later


@pytest.fixture
async def engine(tmp_path: Path) -> Engine:
    return made_engine(SpoolLayout(tmp_path), [].append)


def admit(engine: Engine, *names: str, plan_id: str = "p", **fields: dict[str, list[str]]) -> None:
    after = fields.get("after", {})
    tasks = [
        make_task(name, plan=plan_id, title=name.replace("_", " "), dependencies=after.get(name, [])) for name in names
    ]
    plan = make_plan(*tasks, id=plan_id)
    engine.board.add_plan(plan, {}, {})
    for task in tasks:
        state = TaskState.WAITING if task.dependencies else TaskState.QUEUED
        first = Decision(number=1, at=NOW, ref=task.ref, state=state, reason="admitted")
        engine.board.add_task(plan, task, first)


def run(engine: Engine, ref: str, usd: float, sonnet: float = 0.0, *, model: str = HAIKU) -> OpenTask:
    """An attempt that has reported so much; nothing yet where `usd` is 0."""
    entry = engine.board.tasks[ref]
    engine.board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
    entry.model = model
    usage = UsageEntry(at=NOW, model=model, input_tokens=9, cost_usd=usd, sonnet_cost_usd=sonnet)
    event = AttemptEvent(at=NOW, kind=EventKind.USAGE, usage=usage)
    entry.progress = advance(entry.progress, [event] if usd else [], 1)
    return entry


def finish(engine: Engine, entry: OpenTask, seconds: float = 60) -> None:
    """As settlement and publication do it on the board."""
    board, progress = engine.board, entry.progress
    entry.spent_usd, entry.spent_sonnet_usd = progress.cost_usd, progress.sonnet_cost_usd
    board.count_money(board.plans[entry.plan.id], entry.task.id, entry.spent_usd, entry.spent_sonnet_usd)
    entry.forget_attempt()
    board.move(entry, next_decision(entry.decision, TaskState.SUCCEEDED, "", NOW))
    took = FinishedTask(cost_usd=entry.spent_usd, sonnet_cost_usd=entry.spent_sonnet_usd, seconds=seconds)
    engine.role_history.add(entry.role, took)
    board.remove(entry, task_status(engine, entry))


def look(engine: Engine) -> tuple[LiveStatus, PlanStatus, RunningCosts]:
    status = picture(engine, NOW, "inotify")
    assert status.all_plans is not None
    return status, status.plans[0], status.all_plans


async def test_the_guides_example(engine: Engine, now: datetime):
    """Its three tasks, with the Sonnet figures that its own all-Sonnet total takes.

    The guide says: running cost 0.07, estimated total 0.12, estimated savings 0.66 (85 %), elapsed 2 minutes, 3 minutes
    left. The first two follow from its lines (0.04 + 0.02 + 0.01; three times 0.04). 0.66 is 0.78 - 0.12 with the
    `if_all_sonnet` of its cost example, which does not follow from the tokens there (they are 0.4035 at Sonnet's
    prices): here each finished task cost 0.26 at Sonnet's prices, so that 0.78 is what three of them come to.
    """
    admit(engine, "Auth_page", "Dashboard", "Analytics")
    finish(engine, run(engine, "p.Auth_page", 0.04, 0.26), seconds=300)
    run(engine, "p.Dashboard", 0.02, 0.13)
    run(engine, "p.Analytics", 0.01, 0.06)
    status, plan, whole = look(engine)
    lines = [(task.title, task.model_family, task.state, task.cost_usd) for task in status.tasks]
    assert sorted(lines) == [
        ("Analytics", "Haiku", "running", 0.01),
        ("Auth page", "Haiku", "succeeded", 0.04),
        ("Dashboard", "Haiku", "running", 0.02),
    ]
    assert plan.cost_usd == 0.07
    assert plan.estimated_total_usd == 0.12
    assert plan.estimated_sonnet_usd == 0.78
    assert (plan.estimated_savings_usd, plan.estimated_savings_percent) == (0.66, 84.6)
    assert (plan.sonnet_cost_usd, plan.savings_usd, plan.savings_percent) == (0.45, 0.38, 84.4)
    assert plan.elapsed_seconds == 120
    assert plan.estimated_seconds_left == 180
    assert (plan.estimate_from, plan.no_estimate_for) == ({ROLE: 1}, [])
    assert plan.counts == {"succeeded": 1, "running": 2}
    assert whole == RunningCosts(**plan.model_dump(include=set(RunningCosts.model_fields)))


async def test_without_a_finished_task_of_a_role_there_is_no_estimate(engine: Engine, now: datetime):
    admit(engine, "a", "b")
    run(engine, "p.a", 0.02, 0.1)
    _, plan, whole = look(engine)
    for costs in (plan, whole):
        assert (costs.cost_usd, costs.savings_usd, costs.savings_percent) == (0.02, 0.08, 80.0)
        assert costs.estimated_total_usd is costs.estimated_savings_usd is costs.estimated_seconds_left is None
        assert (costs.estimate_from, costs.no_estimate_for) == ({}, [ROLE])


async def test_a_running_task_that_has_spent_more_than_its_like_counts_as_that(engine: Engine, now: datetime):
    admit(engine, "a", "b")
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0.04, sonnet_cost_usd=0.3, seconds=30))
    run(engine, "p.a", 0.09, 0.5)
    _, plan, _ = look(engine)
    assert plan.estimated_total_usd == 0.13
    assert plan.estimated_sonnet_usd == 0.8
    assert plan.estimated_seconds_left == 30  # a is overdue, b has an agent of its own


async def test_a_retried_task_keeps_what_its_earlier_attempts_spent(engine: Engine, now: datetime):
    admit(engine, "a")
    entry = run(engine, "p.a", 0.03, 0.2)
    entry.spent_usd, entry.spent_sonnet_usd = 0.03, 0.2
    engine.board.count_money(engine.board.plans["p"], "a", 0.03, 0.2)
    entry.forget_attempt()
    engine.board.move(entry, next_decision(entry.decision, TaskState.QUEUED, "", NOW))
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0.04, sonnet_cost_usd=0.1, seconds=30))
    status, plan, _ = look(engine)
    assert (plan.cost_usd, plan.sonnet_cost_usd) == (0.03, 0.2)
    assert (plan.estimated_total_usd, plan.estimated_sonnet_usd) == (0.04, 0.2)
    assert (status.tasks[0].cost_usd, status.tasks[0].sonnet_cost_usd) == (0.03, 0.2)


async def test_finished_tasks_of_an_open_plan_count_beyond_those_that_are_listed(engine: Engine, now: datetime):
    names = [f"t{number}" for number in range(71)]
    admit(engine, *names)
    for name in names[:70]:
        finish(engine, run(engine, f"p.{name}", 0.01, 0.05))
    status, plan, whole = look(engine)
    assert sum(task.state == "succeeded" for task in status.tasks) == 50
    assert (plan.cost_usd, whole.cost_usd) == (0.7, 0.7)
    assert plan.counts == {"succeeded": 70, "queued": 1}
    assert plan.estimate_from == {ROLE: 50}
    finish(engine, run(engine, "p.t70", 0.01))
    assert (picture(engine, NOW, "").plans, picture(engine, NOW, "").all_plans) == ([], None)


async def test_what_had_finished_when_the_daemon_began_is_shown_with_its_plan_and_not_counted(
    engine: Engine, now: datetime
):
    plan, board = make_plan(make_task("a"), make_task("b")), engine.board
    usage = UsageTotal(cost_usd=0.04, sonnet_cost_usd=0.3, tokens_used=9)
    done = Decision(number=3, at=NOW, ref="p.a", state=TaskState.SUCCEEDED, reason="", attempt=1)
    queued = Decision(number=1, at=NOW, ref="p.b", state=TaskState.QUEUED, reason="")
    board.add_plan(plan, {"a": TaskState.SUCCEEDED}, {"a": usage})
    board.add_finished_before(finished_status(plan, plan.tasks[0], done, Used(usage, 60.0, HAIKU, began=True)))
    entry = board.add_task(plan, plan.tasks[1], queued)
    status, shown, _ = look(engine)
    assert [(task.ref, task.model_family, task.cost_usd) for task in status.tasks] == [
        ("p.b", "", 0.0),
        ("p.a", "Haiku", 0.04),
    ]
    assert (shown.cost_usd, shown.sonnet_cost_usd, shown.counts) == (0.04, 0.3, {"succeeded": 1, "queued": 1})
    assert status.counts["succeeded"] == 0
    finish(engine, run(engine, entry.ref, 0.01))
    assert not board.finished_before


async def test_a_command_agent_that_calls_no_model_costs_nothing_also_before_one_has_finished(
    engine: Engine, now: datetime
):
    admit(engine, "a")
    run(engine, "p.a", 0.0, model="")
    status, plan, _ = look(engine)
    assert (plan.estimated_total_usd, plan.estimated_seconds_left) == (0.0, None)
    assert plan.no_estimate_for == [ROLE]
    assert (status.tasks[0].model, status.tasks[0].model_family) == ("", "")


async def test_time_left_is_that_of_the_plan_with_those_that_are_before_it(engine: Engine, now: datetime):
    engine.settings = engine.settings.model_copy(update={"max_agents": 1})
    admit(engine, "a", "b", after={"b": ["a"]})
    admit(engine, "x", plan_id="q")
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0, seconds=100))
    status = picture(engine, NOW, "")
    assert [(plan.id, plan.estimated_seconds_left) for plan in status.plans] == [("p", 300), ("q", 200)]
    assert status.all_plans is not None
    assert status.all_plans.estimated_seconds_left == 300


async def test_a_plan_at_work_is_listed_before_the_others(
    engine: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    for number in range(4):
        admit(engine, "a", "b", plan_id=f"p{number}")
    run(engine, "p3.b", 0.01)
    engine.board.count_money(engine.board.plans["p2"], "a", 0.02, 0.1)  # what it spent before it was retried
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0.04, seconds=80))
    monkeypatch.setattr(running_costs, "MOST_PLANS", 2)
    status = picture(engine, NOW, "")
    assert [plan.id for plan in status.plans] == ["p3", "p0"]
    assert status.plans_left_out == 2
    assert status.all_plans is not None
    assert status.all_plans.cost_usd == 0.03
    assert status.all_plans.estimated_seconds_left == 80
    monkeypatch.setattr(running_costs, "MOST_IN_TURN", 2)  # as with thousands of tasks
    shared = picture(engine, NOW, "").all_plans
    assert shared is not None
    assert shared.estimated_seconds_left == 70


async def test_a_clock_that_ticks_is_no_reason_to_write_the_picture_again(
    engine: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    admit(engine, "a")
    run(engine, "p.a", 0.01)
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0.04, seconds=300))
    first = picture(engine, NOW, "")
    monkeypatch.setattr(live_status, "utc_now", lambda: now + timedelta(seconds=5))
    second = picture(engine, NOW, "")
    assert second.plans[0].elapsed_seconds == first.plans[0].elapsed_seconds + 5
    assert second.plans[0].estimated_seconds_left == 175
    text = StatusText()
    before = text.parts(first)
    assert text.text(first) == dump(first)
    assert text.parts(second) == before
    assert text.text(second) == dump(second)
    engine.board.tasks["p.a"].progress.cost_usd = 0.02
    assert text.parts(picture(engine, NOW, "")) != before


async def test_a_clock_that_was_set_back_makes_no_negative_times(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    admit(engine, "a")
    run(engine, "p.a", 0.01)
    engine.role_history.add(ROLE, FinishedTask(cost_usd=0.04, seconds=300))
    monkeypatch.setattr(live_status, "utc_now", lambda: NOW - timedelta(days=1))
    _, plan, _ = look(engine)
    assert (plan.elapsed_seconds, plan.estimated_seconds_left) == (0, 300)


async def test_on_a_full_disk_plans_make_room_too(engine: Engine, now: datetime):
    for number in range(60):
        admit(engine, "a", plan_id=f"p{number}")
    status = picture(engine, NOW, "")
    fitted = LiveStatus.model_validate_json(fitting(status, 8_192))
    assert len(fitted.plans) + fitted.plans_left_out == 60
    assert len(dump(fitted)) <= 8_192


def test_a_picture_of_an_older_daemon_can_be_read():
    old = TaskStatus(ref="p", plan="p", title="", state="running", role="r", priority="low", since=NOW)
    assert (old.model, old.model_family, old.sonnet_cost_usd) == (None, "", 0.0)
