"""Publication: from a final decision to an answer that the requester can read. Runs on the writing thread.

The order is what makes it safe to be cut short anywhere and begun again: the task's response, its copy in responses/,
the plan's where the plan is finished, and last the link's move to its final state, which is the mark that all is
published. A response that exists is not built again, but for one that a cut left broken, or without its own decision:
that is older than the one that holds. Readers may take their answer away at any time.

Nearly always decision and answers are written together (final_word.py). What is here does the rest, whatever that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import is_final
from haikud.engine.answers.history import read_answers, read_costs, read_history
from haikud.engine.answers.responses import plan_response, task_response
from haikud.engine.board import Published
from haikud.engine.lost import decision_from_link
from haikud.spool.durable import write_durably
from haikud.spool.models import UnreadableFile, dump, read_model
from haikud.spool.publish import publish_response, publish_responses, retract, retract_escalation, rotate_response
from haikud.spool.store import Store


def publish_final(
    store: Store,
    plan: Plan,
    task: Task,
    decision: Decision,
    *,
    is_last: bool,
    evidence: Evidence | None = None,
) -> Published:
    """Publish a task whose final decision is durable. May be repeated.

    `is_last`: every other task of the plan is published, so that the plan's answer follows.
    """
    layout = store.layout
    paths = layout.task(task.ref)
    response = _read_response(paths.response)
    if response is None or response.timestamp < decision.at:
        response = task_response(read_history(store, plan, task, decision, evidence), decision.at)
        write_durably(paths.response, dump(response))
    whole = _plan_answer(store, plan, decision.at) if is_last else None
    publish_answer(store, plan, task, is_last=is_last)
    store.move_link(task.ref, decision.state, durable=True)
    return Published(response, whole)


def publish_answer(store: Store, plan: Plan, task: Task, *, is_last: bool) -> None:
    """Put a task's answer into responses/, and its plan's where it was the last; both lie durably in their folders."""
    retract_escalation(store.layout, task.ref)
    publish_responses(store.layout, sources_of(store, plan, task, is_last=is_last))


def sources_of(store: Store, plan: Plan, task: Task, *, is_last: bool) -> dict[str, Path]:
    """What is to lie in responses/ when a task is final, by name, and the answer in the plan's folder that it is."""
    sources = {}
    if len(plan.tasks) > 1:
        sources[f"{task.ref}.json"] = store.layout.task(task.ref).response
    if is_last:
        sources[f"{plan.id}.json"] = store.layout.plan(plan.id).response
    return sources


def publish_plan(store: Store, plan: Plan) -> Response:
    """Publish a plan whose tasks all have their responses."""
    response = _plan_answer(store, plan)
    publish_response(store.layout, store.layout.plan(plan.id).response, f"{plan.id}.json")
    return response


def _plan_answer(store: Store, plan: Plan, since: datetime | None = None) -> Response:
    """A plan's answer, durable in its folder; one that is broken or older than `since` is built again."""
    path = store.layout.plan(plan.id).response
    response = _read_response(path)
    if response is None or (since is not None and response.timestamp < since):
        answers = answers_of(store, plan, plan.tasks)
        if plan.answers_as_plan:
            response = plan_response(plan, answers, read_costs(store, plan), since or utc_now())
        else:
            response = answers[0][1]
        write_durably(path, dump(response))
    return response


def answers_of(store: Store, plan: Plan, tasks: Sequence[Task]) -> list[tuple[Task, Response]]:
    """The answers of finished tasks of a plan, from their folders. FileNotFoundError where one has none: our bug."""
    for task in tasks:
        if not store.layout.task(task.ref).response.exists():
            _answer_anew(store, plan, task)
    return read_answers(store, tasks)


def _answer_anew(store: Store, plan: Plan, task: Task) -> None:
    """The answer of a finished task whose folder was deleted since: its published copy, or what is still known."""
    decision = store.last_decision(task.ref)
    if decision is None:
        decision = decision_from_link(store, plan.id, task)
        if decision is None or not is_final(decision.state):
            return
        store.put_back(decision, plan)
    published = _read_response(store.layout.responses / f"{task.ref}.json")
    response = published or task_response(read_history(store, plan, task, decision), utc_now())
    write_durably(store.layout.task(task.ref).response, dump(response))


def publish_again(store: Store, plan: Plan) -> bool:
    """Bring a finished plan's answers back that readers took away. False where the plan is not finished."""
    if not store.layout.plan(plan.id).response.exists():
        return False
    if len(plan.tasks) > 1:
        for task in plan.tasks:
            publish_response(store.layout, store.layout.task(task.ref).response, f"{task.ref}.json")
    publish_plan(store, plan)
    return True


def take_back(store: Store, plan: Plan, task: Task) -> None:
    """A finished task is retried: its answer and its plan's make way, and stay in their folders as older ones."""
    layout = store.layout
    retract(layout, f"{plan.id}.json")
    rotate_response(layout.plan(plan.id).folder)
    if len(plan.tasks) > 1:
        retract(layout, f"{task.ref}.json")
    rotate_response(layout.task(task.ref).folder)


def _read_response(path: Path) -> Response | None:
    """None also where it cannot be read."""
    try:
        return read_model(path, Response)
    except UnreadableFile:
        return None
