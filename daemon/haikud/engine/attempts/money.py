"""What an attempt may spend: its purses, its token with their limits, and what becomes of a task that has nothing left.

A day that is spent ends by itself: the task is deferred to the next one (UTC), and no attempt counted. A task's or a
plan's budget does not: somebody is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from haikud.contracts import gateway
from haikud.contracts.attempt import Question, ResolvedRole
from haikud.contracts.gateway import AttemptToken
from haikud.contracts.plan import Plan, Task
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.engine.attempts.settlement import escalate_task
from haikud.engine.board import OpenTask
from haikud.engine.budgets import SMALLEST_USD, TOMORROW, Allotment, Purse, allot, next_midnight
from haikud.engine.engine import Engine
from haikud.engine.gateway.accounts import spent_on
from haikud.engine.gateway.tokens import models_of, new_token
from haikud.engine.live_status import unmetered_usd
from haikud.engine.log_levels import Warn


def task_purse(engine: Engine, entry: OpenTask) -> Purse:
    """The task's own budget."""
    return Purse(gateway.Purse.TASK, _task_limit(engine.settings, entry.task), entry.spent_usd)


def _task_limit(settings: Settings, task: Task) -> float:
    stated, limit = task.max_cost_usd, settings.budgets.task_usd
    return limit if stated is None else min(stated, limit)


def plan_purse(engine: Engine, entry: OpenTask) -> Purse:
    """Its plan's."""
    board, plan_id = engine.board, entry.plan.id
    spent = board.plans[plan_id].cost_usd + board.running_usd(plan_id)
    return Purse(gateway.Purse.PLAN, engine.settings.budgets.plan_usd, spent)


def day_purse(engine: Engine, now: datetime) -> Purse:
    """The day's."""
    spent = engine.day.at(now) + unmetered_usd(engine)
    return Purse(gateway.Purse.DAY, engine.settings.budgets.day_usd, spent)


@dataclass(frozen=True)
class Purses:
    """The three that hold an attempt."""

    task: Purse
    plan: Purse
    day: Purse

    def share(self, *, paid: bool) -> Allotment:
        """What the next attempt may spend; `paid`: it can spend anything."""
        return allot(self.task, self.plan, self.day) if paid else Allotment(max(0.0, self.task.left))


def purses_of(engine: Engine, entry: OpenTask, now: datetime) -> Purses:
    """Those of a task that is on the board."""
    return Purses(task_purse(engine, entry), plan_purse(engine, entry), day_purse(engine, now))


def first_purses(settings: Settings, task: Task, day: Purse) -> Purses:
    """Those of a task of a plan that is about to be admitted: nothing of it has run yet."""
    plan = Purse(gateway.Purse.PLAN, settings.budgets.plan_usd, 0.0)
    return Purses(Purse(gateway.Purse.TASK, _task_limit(settings, task), 0.0), plan, day)


async def allotment(engine: Engine, entry: OpenTask, now: datetime, *, paid: bool) -> Allotment:
    """What the next attempt of a task may spend. Before a day counts as spent its journal is looked at."""
    found = purses_of(engine, entry, now).share(paid=paid)
    if found.exhausted is not None and found.exhausted.name is gateway.Purse.DAY:
        # What the gateway told last may have been of the day before, just when that ended.
        engine.day.hear(await engine.aside(spent_on, engine.layout.gateway, now.date()), now)
        found = purses_of(engine, entry, now).share(paid=paid)
    return found


def new_attempt_token(
    plan: Plan, task: Task, attempt: int, role: ResolvedRole, purses: Purses, settings: Settings, now: datetime
) -> tuple[str, AttemptToken]:
    """A token for a task's next attempt, and what is to be written before it is good."""
    token, digest = new_token(task.ref, attempt)
    record = AttemptToken(
        digest=digest,
        ref=task.ref,
        plan=plan.id,
        task=task.id,
        attempt=attempt,
        role=role.name,
        issued_at=now,
        plan_since=plan.admitted_at,
        models=models_of(role, settings),
        task_usd=purses.task.limit,
        plan_usd=purses.plan.limit,
        day_usd=purses.day.limit,
        task_spent_usd=purses.task.spent,
        plan_spent_usd=purses.plan.spent,
    )
    return token, record


def goes_on_today(engine: Engine, now: datetime) -> list[OpenTask]:
    """Tasks that were put off to tomorrow, where the day has room again: its budget was raised. Looked at once.

    Room for less than a call puts them off again, at the cost of an attempt each: so not in every round.
    """
    is_asked, engine.day_may_have_room = engine.day_may_have_room, False
    if not is_asked or day_purse(engine, now).left < SMALLEST_USD:
        return []
    return [one for one in engine.board.in_state(TaskState.DEFERRED) if one.decision.reason.endswith(TOMORROW)]


async def out_of_money(engine: Engine, entry: OpenTask, purse: Purse, now: datetime) -> None:
    """The task cannot go on: somebody is asked, or it goes on tomorrow."""
    said = f"the budget of the {purse.name} is spent: {purse.spent:.4f} of {purse.limit:.4f} USD"
    if purse.name is gateway.Purse.DAY:
        await engine.decide(entry, TaskState.DEFERRED, f"{said}; {TOMORROW}", retry_at=next_midnight(now))
        engine.say(Warn(f"{entry.ref} waits: {said}; {TOMORROW}"))
        return
    begun, setting = entry.decision.attempt > 0, engine.settings.budgets.task_usd
    question = spent_question(entry.ref, purse, said, begun=begun, task_usd=setting)
    await escalate_task(engine, entry, question, said, fresh=entry.decision.fresh)


def spent_question(ref: str, purse: Purse, said: str, *, begun: bool, task_usd: float) -> Question:
    """What is asked. `task_usd`: the settings'; a lower one of the task stays, for a plan never changes. Pure."""
    if purse.name is gateway.Purse.TASK and purse.limit < task_usd:
        raise_it = f"Cancel it, and drop it under a new id with a higher max_cost_usd: it states {purse.limit:.4f} USD"
    else:
        raise_it = f"Raise budgets.{purse.name}_usd in haikud.yaml, reload or restart the daemon, and answer this"
    if not begun:
        return Question(
            reason=said,
            blocker=f"No model call is left to {ref}: nothing was begun of it",
            options=[raise_it, "Cancel it"],
            recommendation="Look at what the others have cost first: haikud cost",
        )
    return Question(
        reason=said,
        blocker=f"No model call is left to {ref}",
        options=[raise_it, "Take what is on its branch and cancel it"],
        recommendation="Look at what is on its branch first: much may be done already",
    )
