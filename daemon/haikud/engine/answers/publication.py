"""Publication: from a final decision to an answer that the requester can read. Runs on the writing thread.

The order is what makes it safe to be cut short anywhere and begun again: the task's response, its copy in responses/,
the plan's where the plan is finished, and last the link's move to its final state, which is the mark that all is
published. A response that exists is not built again. Readers may take their answer away at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import is_final
from haikud.engine.answers.history import read_answers, read_costs, read_history
from haikud.engine.answers.responses import plan_response, task_response
from haikud.engine.lost import decision_from_link
from haikud.spool.durable import write_durably
from haikud.spool.models import UnreadableFile, dump, read_model
from haikud.spool.publish import publish_response, retract, retract_escalation, rotate_response
from haikud.spool.store import Store


@dataclass(frozen=True)
class Published:
    """What was published of a task."""

    response: Response
    plan: Response | None  # where the task was the plan's last


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
    if response is None:
        response = task_response(read_history(store, plan, task, decision, evidence), utc_now())
        write_durably(paths.response, dump(response))
    retract_escalation(layout, task.ref)
    if len(plan.tasks) > 1:
        publish_response(layout, paths.response, f"{task.ref}.json")
    whole = publish_plan(store, plan) if is_last else None
    store.move_link(task.ref, decision.state, durable=True)
    return Published(response, whole)


def publish_plan(store: Store, plan: Plan) -> Response:
    """Publish a plan whose tasks all have their responses."""
    paths = store.layout.plan(plan.id)
    response: Response | None
    if paths.response.exists():
        response = read_model(paths.response, Response)
    else:
        for task in plan.tasks:
            if not store.layout.task(task.ref).response.exists():
                _answer_anew(store, plan, task)
        answers = read_answers(store, plan)
        if plan.answers_as_plan:
            response = plan_response(plan, answers, read_costs(store, plan), utc_now())
        else:
            response = answers[0][1]
        write_durably(paths.response, dump(response))
    publish_response(store.layout, paths.response, f"{plan.id}.json")
    assert response is not None  # noqa: S101 - it exists or was just written
    return response


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
