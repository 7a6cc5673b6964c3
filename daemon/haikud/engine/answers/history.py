"""Gathering what an answer is built from: a task's decisions and attempts, read from its folder. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from haikud.contracts.completion import EscalationTold
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Plan, Task
from haikud.costs.comparison import AgentCost
from haikud.engine.answers.responses import TaskHistory, costs_of, main_agent_costs
from haikud.engine.answers.told import read_told
from haikud.engine.attempts.results import read_attempts
from haikud.spool.models import read_model
from haikud.spool.store import Store


def read_history(
    store: Store,
    plan: Plan,
    task: Task,
    decision: Decision,
    evidence: Evidence | None = None,
    *,
    settling: Decision | None = None,
) -> TaskHistory:
    """What has happened to a task. `evidence` was measured by the engine for a runner that died.

    `settling`: the decision that is about to settle the newest attempt, which counts as ended already.
    """
    decisions = [*store.decisions(task.ref), *([settling] if settling else [])]
    attempts = read_attempts(store.layout.task(task.ref), decisions)
    log = str(store.layout.log_link(task.ref))
    told = read_told(store.layout.task(task.ref), decision.escalation)
    return TaskHistory(plan, task, decision, attempts, log_file=log, evidence=evidence, told=told)


def read_answers(store: Store, tasks: Sequence[Task]) -> list[tuple[Task, Response]]:
    """The answers of tasks, in their order. FileNotFoundError where one has none yet: our bug."""
    answers: list[tuple[Task, Response]] = []
    for task in tasks:
        path = store.layout.task(task.ref).response
        answer = read_model(path, Response)
        if answer is None:
            raise FileNotFoundError(f"{path} is missing though {task.ref} is final")
        answers.append((task, answer))
    return answers


def read_costs(store: Store, plan: Plan, known: Mapping[str, TaskHistory] | None = None) -> list[AgentCost]:
    """What every task of a plan used, by model; and the main agent itself, where it has said so.

    `known`: by task id, those that need not be read.
    """
    costs: list[AgentCost] = []
    told: list[EscalationTold] = []
    for task in plan.tasks:
        if known and task.id in known:
            costs += costs_of(task, known[task.id].attempts)
            told += known[task.id].told
            continue
        paths, decisions = store.layout.task(task.ref), store.decisions(task.ref)
        costs += costs_of(task, read_attempts(paths, decisions))
        told += read_told(paths, decisions[-1].escalation) if decisions else []
    return [*main_agent_costs(plan, told), *costs]
