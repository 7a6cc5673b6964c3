"""The guide's cost block for status.json: what open plans have cost so far, and about what they will come to.

Made from the board in one look over the open tasks, like the rest of the picture: nothing is read from disk. Estimates
come from the medians of finished tasks of the same role (`role_history.py`) through pure functions (`estimates.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from haikud.contracts.live import PlanStatus, RunningCosts
from haikud.contracts.states import TaskState, is_final
from haikud.engine.board import Board, OpenPlan, OpenTask
from haikud.engine.engine import Engine
from haikud.engine.estimates import Ahead, Typical, done_in, done_in_waves, estimated_cost, savings
from haikud.engine.role_history import RoleHistory

MOST_PLANS = 50
"""Open plans listed."""

MOST_IN_TURN = 200
"""Of so many open tasks each is looked at for the time left; more are only shared out over the agents."""

_FREE = Typical(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True)
class Tasks:
    """Open tasks, of one plan or of all: those that were tried one by one, the others by role."""

    begun: list[OpenTask]
    fresh: Counter[str]  # role -> how many were not tried yet

    @property
    def running(self) -> list[OpenTask]:
        """Those that run."""
        return [entry for entry in self.begun if entry.state is TaskState.RUNNING]

    @property
    def roles(self) -> list[str]:
        """The roles of those that are not done."""
        return sorted({entry.role for entry in self.begun if not is_final(entry.state)} | set(self.fresh))


@dataclass
class Sight:
    """What was made of the listed plans for the last picture: of those that nothing has happened to it still holds."""

    tasks: dict[str, tuple[OpenPlan, int, Tasks]] = field(default_factory=dict)  # by id, with the plan's changes
    plans: dict[str, tuple[Tasks, int, PlanStatus]] = field(default_factory=dict)  # by id, with the history's

    def look_over(self, board: Board, owners: list[OpenPlan]) -> list[Tasks]:
        """The open tasks of each plan."""
        found = {}
        for owner in owners:
            before = self.tasks.get(owner.id)
            if before is None or before[0] is not owner or before[1] != owner.changes:
                before = (owner, owner.changes, look_over(board.open_tasks_of(owner.id)))
            found[owner.id] = before
        self.tasks = found
        return [tasks for _, _, tasks in found.values()]

    def describe(self, owner: OpenPlan, tasks: Tasks, history: RoleHistory) -> PlanStatus:
        """All of a plan's status but its times. While an attempt is at work its costs change by themselves."""
        before = self.plans.get(owner.id)
        if before is None or before[0] is not tasks or before[1] != history.changes or tasks.begun:
            status = PlanStatus(
                id=owner.id,
                title=owner.title,
                admitted_at=owner.admitted_at,
                counts=dict(Counter(map(attrgetter("_value_"), owner.states.values()))),
                **costs_of([owner], tasks, history),
            )
            before = self.plans[owner.id] = (tasks, history.changes, status)
        return before[2]

    def forget_others(self, owners: list[OpenPlan]) -> None:
        """Only what is listed is kept."""
        self.plans = {owner.id: self.plans[owner.id] for owner in owners}


def costs_in_sight(engine: Engine, now: datetime, sight: Sight | None = None) -> dict[str, Any]:
    """The fields of status.json that are about plans."""
    board, history, sight = engine.board, engine.role_history, sight or Sight()
    owners = plans_in_sight(board)
    if not owners:
        return {}
    of_all = Tasks(list(board.begun.values()), +board.fresh)
    of_plan = sight.look_over(board, owners)
    times = seconds_left(engine, owners, of_plan, of_all, now)
    plans = [
        sight.describe(owner, tasks, history).model_copy(
            update={
                "elapsed_seconds": _seconds_between(owner.admitted_at, now),
                "estimated_seconds_left": left,
            }
        )
        for owner, tasks, left in zip(owners, of_plan, times, strict=False)
    ]
    sight.forget_others(owners)
    at_work = [owner for owner, tasks in zip(owners, of_plan, strict=True) if tasks.running] or owners
    whole = RunningCosts(
        elapsed_seconds=max(_seconds_between(owner.admitted_at, now) for owner in at_work),
        estimated_seconds_left=times[-1],
        **costs_of(board.spending.values(), of_all, history),
    )
    return {"plans": plans, "plans_left_out": len(board.plans) - len(plans), "all_plans": whole}


def plans_in_sight(board: Board) -> list[OpenPlan]:
    """The plans to list: those at work first, then the longest on the board."""
    ids = dict.fromkeys(entry.owner.id for entry in board.in_state(TaskState.RUNNING))
    for plan_id in board.plans:
        if len(ids) >= MOST_PLANS:
            break
        ids[plan_id] = None
    return [board.plans[plan_id] for plan_id in list(ids)[:MOST_PLANS]]


def look_over(entries: Collection[OpenTask]) -> Tasks:
    """Sort open tasks by whether they were tried."""
    begun = [entry for entry in entries if entry.decision.attempt]
    fresh = Counter(map(attrgetter("role"), entries))
    fresh.subtract(map(attrgetter("role"), begun))
    return Tasks(begun, +fresh)


def costs_of(owners: Iterable[OpenPlan], tasks: Tasks, history: RoleHistory) -> dict[str, Any]:
    """Everything of RunningCosts but the times. `tasks`: all open ones of the plans."""
    spent = sonnet = 0.0
    for owner in owners:
        spent += owner.cost_usd
        sonnet += owner.sonnet_cost_usd
    total, total_sonnet, is_known = spent, sonnet, True
    for entry in tasks.begun:
        progress = entry.progress
        spent += progress.cost_usd
        sonnet += progress.sonnet_cost_usd
        if is_final(entry.state):
            continue
        typical = history.typical(entry.role) or (_FREE if entry.model == "" else None)
        is_known = is_known and typical is not None
        if typical is not None:
            usd, sonnet_usd = entry.spent_usd, entry.spent_sonnet_usd
            total += estimated_cost(usd + progress.cost_usd, typical.cost_usd) - usd
            total_sonnet += estimated_cost(sonnet_usd + progress.sonnet_cost_usd, typical.sonnet_cost_usd) - sonnet_usd
    for role, count in tasks.fresh.items():
        typical = history.typical(role)
        is_known = is_known and typical is not None
        if typical is not None:
            total += count * typical.cost_usd
            total_sonnet += count * typical.sonnet_cost_usd
    saved, percent = savings(spent, sonnet)
    fields: dict[str, Any] = {
        "cost_usd": round(spent, 9),
        "sonnet_cost_usd": round(sonnet, 9),
        "savings_usd": saved,
        "savings_percent": percent,
    }
    if is_known:
        would_save, would_percent = savings(total, total_sonnet)
        fields |= {
            "estimated_total_usd": round(total, 9),
            "estimated_sonnet_usd": round(total_sonnet, 9),
            "estimated_savings_usd": would_save,
            "estimated_savings_percent": would_percent,
        }
    known = {role: history.typical(role) for role in tasks.roles}
    fields["estimate_from"] = {role: typical.tasks for role, typical in known.items() if typical is not None}
    fields["no_estimate_for"] = [role for role, typical in known.items() if typical is None]
    return fields


def seconds_left(
    engine: Engine, owners: Sequence[OpenPlan], of_plan: Sequence[Tasks], of_all: Tasks, now: datetime
) -> list[float | None]:
    """Of each plan, and of all together as the last one: in how many seconds it will be done; None: nobody knows."""
    board, history = engine.board, engine.role_history
    seconds = {role: typical.seconds for role in of_all.roles if (typical := history.typical(role)) is not None}
    agents = min(engine.settings.max_agents, engine.launcher.capacity or engine.settings.max_agents)
    if len(board.tasks) <= MOST_IN_TURN:
        ends = done_in(_ahead(engine, seconds, now), agents)
        found = [
            max((ends.get(entry.ref, 0.0) for entry in board.open_tasks_of(owner.id)), default=0.0) for owner in owners
        ]
        found.append(max(ends.values(), default=0.0))
    else:
        found, before = [], Counter[str]()
        for tasks in of_plan:  # in the order in which they are listed, as if each waited for those before it
            before.update(_waiting(tasks, seconds))
            found.append(done_in_waves(_rests(tasks, seconds, now), before, seconds, agents))
        found.append(done_in_waves(_rests(of_all, seconds, now), _waiting(of_all, seconds), seconds, agents))
    return [
        round(left, 1) if all(role in seconds for role in tasks.roles) else None
        for left, tasks in zip(found, [*of_plan, of_all], strict=True)
    ]


def _ahead(engine: Engine, seconds: dict[str, float], now: datetime) -> list[Ahead]:
    """The open tasks in the order in which they are to start."""
    held = engine.pause_seconds_left() or 0.0
    entries = [entry for entry in engine.board.tasks.values() if not is_final(entry.state)]
    return [
        Ahead(
            ref=entry.ref,
            seconds=_rest(entry, seconds, now),
            after=[entry.plan.task(name).ref for name in entry.task.dependencies],
            is_running=entry.state is TaskState.RUNNING,
            starts_in=max(held, _seconds_between(now, entry.decision.retry_at or now)),
        )
        for entry in sorted(entries, key=lambda entry: entry.candidate.rank)
    ]


def _waiting(tasks: Tasks, seconds: dict[str, float]) -> Counter[str]:
    """Role -> how many tasks wait for an agent, of the roles that something is known of."""
    found = Counter({role: count for role, count in tasks.fresh.items() if role in seconds})
    found.update(
        entry.role
        for entry in tasks.begun
        if entry.role in seconds and entry.state is not TaskState.RUNNING and not is_final(entry.state)
    )
    return found


def _rests(tasks: Tasks, seconds: dict[str, float], now: datetime) -> list[float]:
    return [_rest(entry, seconds, now) for entry in tasks.running]


def _rest(entry: OpenTask, seconds: dict[str, float], now: datetime) -> float:
    """Seconds of work left; none where its role is not known, or where it takes longer than its like did."""
    whole = seconds.get(entry.role, 0.0)
    worked = _seconds_between(entry.decision.at, now) if entry.state is TaskState.RUNNING else 0.0
    return max(0.0, whole - worked)


def _seconds_between(earlier: datetime, later: datetime) -> float:
    """Never below 0, whatever somebody does to the clock."""
    return max(0.0, round((later - earlier).total_seconds(), 1))
