"""Reading a spool for `haikud cost`: the journal of model calls, and of one plan what its attempts say too.

Only files are read. An attempt of which the journal has no call (it ran before there was a gateway, or called no model
through it) counts as its own result says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from haikud.contracts.base import JsonObject
from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.plan import Plan
from haikud.contracts.usage import UsageTotal
from haikud.contracts.usage_journal import JournalLine
from haikud.costs.attribution import Attribution, Spent
from haikud.costs.comparison import AgentCost, agent_costs, cost_of_main_agent
from haikud.engine.answers.told import read_told
from haikud.engine.attempts.results import read_attempts
from haikud.interfaces.looking import all_final, check_task_of_known_plan, is_known, plan_of
from haikud.interfaces.trouble import Trouble
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, iter_lines
from haikud.spool.store import Store
from haikud.spool.usage_journal import Charge, fold, journal_days


def charges_by_day(layout: SpoolLayout, since: date | None, plan_id: str = "") -> Iterator[tuple[date, Charge]]:
    """The journal's calls that began on `since` or later, with the day; of one plan, where it is named."""
    mark = json.dumps(plan_id).encode() if plan_id else b""
    for day in journal_days(layout.gateway):
        if since is None or day >= since:
            for charge in fold(iter_lines(layout.gateway.journal(day), JournalLine, only=mark)):
                if not plan_id or charge.line.plan == plan_id:
                    yield day, charge


def attribution_of(layout: SpoolLayout, since: date | None) -> Attribution:
    """What all calls cost, by plan, day, role and model."""
    made = Attribution()
    for day, charge in charges_by_day(layout, since):
        made.count(charge.line, charge.entry, day, is_open=charge.is_open)
    return made


@dataclass
class PlanCosts:
    """What a plan, or one of its tasks, has cost so far."""

    identifier: str
    is_final: bool
    is_pruned: bool
    agents: list[AgentCost] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)  # by the journal alone

    @property
    def block(self) -> JsonObject:
        """The guide's agent_costs block."""
        return agent_costs(self.agents)


def costs_of_plan(layout: SpoolLayout, identifier: str, since: date | None) -> PlanCosts:
    """The costs of a plan or task. Trouble where nothing is known of it."""
    store, plan_id = Store(layout), plan_of(identifier)
    try:
        plan = store.plan(plan_id)
    except UnreadableFile as error:
        raise Trouble(str(error), advice="haikud doctor says what can be done") from None
    check_task_of_known_plan(layout, identifier)
    task_id = identifier.partition(".")[2]
    made = PlanCosts(identifier, all_final(layout, identifier), store.is_pruned(plan_id) and plan is None)
    used: dict[tuple[str, str], UsageTotal] = {}  # (task, model)
    in_journal: set[tuple[str, int]] = set()
    for _, charge in charges_by_day(layout, since, plan_id):
        line, entry = charge.line, charge.entry
        if task_id and task_id != line.task:
            continue
        in_journal.add((line.ref, line.attempt))
        made.spent.count(entry, is_open=charge.is_open)
        if not charge.is_open:
            key = (line.task, entry.model)
            used[key] = used.get(key, UsageTotal()).plus_entry(entry)
    if plan is not None:
        _add_attempts(store, plan, used, in_journal, since)
    elif not in_journal:
        _refuse(layout, identifier, is_pruned=made.is_pruned)
    titles = {task.id: task.title for task in plan.tasks} if plan else {}
    places = {name: place for place, name in enumerate(titles)}
    if plan is not None and (not task_id or identifier == plan_id):
        made.agents += [cost_of_main_agent(main) for main in _main_agents(store, plan, since)]
    for (task, model), total in sorted(used.items(), key=lambda one: places.get(one[0][0], len(places))):
        if not task_id or task == task_id:
            made.agents.append(AgentCost(model, titles.get(task, task), total))
    return made


def _add_attempts(
    store: Store,
    plan: Plan,
    used: dict[tuple[str, str], UsageTotal],
    in_journal: set[tuple[str, int]],
    since: date | None,
) -> None:
    """What the journal has not: attempts that have ended, by their own results."""
    for task in plan.tasks:
        for attempt in read_attempts(store.layout.task(task.ref), store.decisions(task.ref)):
            ended = attempt.result.ended_at.date() if attempt.result else None
            if (task.ref, attempt.number) in in_journal or (since and (ended is None or ended < since)):
                continue
            for model, usage in attempt.usage_by_model.items():
                used[task.id, model] = used.get((task.id, model), UsageTotal()).plus(usage)


def _main_agents(store: Store, plan: Plan, since: date | None) -> Iterator[MainAgentCost]:
    """What the main agent said of planning, and of each answer."""
    if plan.main_agent and (since is None or plan.admitted_at.date() >= since):
        yield plan.main_agent
    for task in plan.tasks:
        last = store.last_decision(task.ref)
        for told in read_told(store.layout.task(task.ref), last.escalation if last else None):
            if told.main_agent and told.answered_at and (since is None or told.answered_at.date() >= since):
                yield told.main_agent


def _refuse(layout: SpoolLayout, identifier: str, *, is_pruned: bool) -> None:
    if is_pruned:
        raise Trouble(
            f"the plan {plan_of(identifier)} was pruned, and the journal has no call of it",
            advice=f"what it cost stood in its answer; the journal is in {layout.gateway.usage}",
            exit_code=1,
        )
    if is_known(layout, identifier):
        raise Trouble(
            f"{identifier} was not admitted: it has cost nothing", advice=f"haikud wait {identifier} says why"
        )
    raise Trouble(f"{layout.root} knows nothing of {identifier}", advice="`haikud cost` lists what has cost something")
