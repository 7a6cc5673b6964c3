"""Whom a control or guidance file means: the plan and the tasks of an ID, open or final."""

from __future__ import annotations

from dataclasses import dataclass

from haikud.contracts.decision import Decision
from haikud.contracts.ids import is_usable_id, split_ref
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.contracts.usage import UsageTotal
from haikud.engine.attempts.results import read_attempts, used_so_far
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.spool.models import UnreadableFile
from haikud.spool.store import Store


class NoSense(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """What was asked for cannot be done, or means nothing now; the message says why. The file is set aside."""


class UnknownPlan(NoSense):
    """There is no such plan; perhaps not yet."""


@dataclass(frozen=True)
class Target:
    """A task that is meant."""

    plan: Plan
    task: Task
    decision: Decision
    tokens: frozenset[str] = frozenset()  # of all decisions on it: what was applied to it already

    @property
    def ref(self) -> str:
        """Its ref."""
        return self.task.ref

    @property
    def state(self) -> TaskState:
        """Where it is."""
        return self.decision.state


def find_targets(store: Store, name: str) -> list[Target]:
    """The task of a ref, or all tasks of a plan. Reads the disk. Raises NoSense."""
    plan_id, task_id = split_ref(name)
    if not is_usable_id(plan_id) or not is_usable_id(task_id):
        raise NoSense(f"{name!r} is neither a plan nor a task")
    try:
        plan = store.plan(plan_id)
    except UnreadableFile as error:
        raise NoSense(f"plan {plan_id} is damaged: {error.why}") from error
    if plan is None:
        if store.is_pruned(plan_id):
            raise NoSense(f"plan {plan_id} was pruned")
        raise UnknownPlan(f"plan {plan_id} does not exist")
    tasks = plan.tasks if "." not in name else [task for task in plan.tasks if task.id == task_id]
    if not tasks:
        known = ", ".join(task.id for task in plan.tasks[:20])
        raise NoSense(f"plan {plan_id} has no task {task_id!r}; it has {known}")
    found = ((task, store.decisions(task.ref)) for task in tasks)
    return [Target(plan, task, all_of[-1], _tokens(all_of)) for task, all_of in found if all_of]


async def bring_to_board(engine: Engine, target: Target) -> OpenTask:
    """The task's entry on the board, put there again where it is final and had left."""
    known = engine.board.tasks.get(target.ref)
    if known is not None:
        return known
    if target.plan.id not in engine.board.plans:
        await load_plan(engine, target.plan)
    used = await engine.aside(_used, engine.store, target.task)
    owner = engine.board.plans[target.plan.id]
    engine.board.count_money(owner, target.task.id, used.cost_usd, used.sonnet_cost_usd)
    return engine.board.add_task(target.plan, target.task, target.decision, tokens=used.tokens_used)


async def load_plan(engine: Engine, plan: Plan) -> None:
    """Put a plan on the board as the disk says it is; not its tasks."""
    states, used = await engine.aside(read_plan_state, engine.store, plan)
    engine.board.add_plan(plan, states, used)


def read_plan_state(store: Store, plan: Plan) -> tuple[dict[str, TaskState], dict[str, UsageTotal]]:
    """The state and the usage of every task, by task id."""
    states: dict[str, TaskState] = {}
    for task in plan.tasks:
        decision = store.last_decision(task.ref)
        if decision is not None:
            states[task.id] = decision.state
    return states, {task.id: _used(store, task) for task in plan.tasks}


def _used(store: Store, task: Task) -> UsageTotal:
    return used_so_far(read_attempts(store.layout.task(task.ref), store.decisions(task.ref)))


def _tokens(decisions: list[Decision]) -> frozenset[str]:
    return frozenset(decision.token for decision in decisions if decision.token is not None)
