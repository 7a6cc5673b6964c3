"""Answers and questions: what a finished task's and plan's folder must hold, and what is published of it.

A reader may take a published answer away at any time: only what is missing in the plan's own folder is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from haikud.contracts.envelope import Response, Status
from haikud.contracts.ids import split_ref
from haikud.contracts.states import TaskState
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.engine.upkeep.look import REJECTION, Look, SeenPlan, SeenTask
from haikud.spool.legal_names import Standing
from haikud.spool.models import UnreadableFile, read_model

STATUS = {
    TaskState.SUCCEEDED: Status.SUCCESS,
    TaskState.FAILED: Status.FAILURE,
    TaskState.CANCELLED: Status.CANCELLED,
}
BUILT_AGAIN = "--repair builds it again from the decisions and results, and publishes it"


def check_answers(look: Look) -> Iterator[Finding]:
    """All answers and all questions."""
    for plan_id, seen in look.plans.items():
        if any(task.last is None for task in seen.tasks):
            continue  # said already, and nothing can be known
        for task in seen.tasks:
            yield from _task(look, task)
            yield from _question(look, task)
        yield from _plan(look, plan_id, seen)
    yield from _published(look)
    yield from _asked(look)


def _task(look: Look, task: SeenTask) -> Iterator[Finding]:
    ref, last = task.task.ref, task.last
    path = look.layout.task(ref).response
    if task.is_published and last is not None:
        yield from _own_answer(path, ref, STATUS[last.state])
    elif not task.is_final and path.exists():
        why = f"the task is {last and last.state}, and has an answer"
        yield fault(Code.RESPONSE_TOO_EARLY, why, path, ref, "--repair keeps it as an older one")


def _plan(look: Look, plan_id: str, seen: SeenPlan) -> Iterator[Finding]:
    path = look.layout.plan(plan_id).response
    if seen.is_finished:
        yield from _own_answer(path, plan_id, None)
    elif path.exists() and not all(task.is_final for task in seen.tasks):
        why = "the plan is not finished, and has an answer"
        yield fault(Code.RESPONSE_TOO_EARLY, why, path, plan_id, "--repair keeps it as an older one")


def _own_answer(path: Path, ref: str, status: Status | None) -> Iterator[Finding]:
    try:
        answer = read_model(path, Response)
    except UnreadableFile as error:
        yield fault(Code.RESPONSE_UNREADABLE, f"the answer cannot be read: {error.why}", path, ref, BUILT_AGAIN)
        return
    if answer is None:
        yield fault(Code.RESPONSE_MISSING, "finished, and has no answer in its folder", path, ref, BUILT_AGAIN)
    elif status is not None and answer.status is not status:
        why = f"its answer says {answer.status}, its last decision {status}"
        yield fault(Code.RESPONSE_WRONG, why, path, ref, "--repair keeps it as an older one and builds it again")


def _question(look: Look, task: SeenTask) -> Iterator[Finding]:
    last, ref = task.last, task.task.ref
    if last is None or last.state is not TaskState.ESCALATED or last.escalation is None:
        return
    source = look.layout.task(ref).escalation(last.escalation)
    target = look.layout.escalations / f"{ref}.json"
    if not source.is_file():
        cure = f"`haikud answer {ref} ...` goes on all the same, or `haikud cancel {ref}`"
        yield fault(Code.ESCALATION_MISSING, "the question itself is missing", source, ref, cure)
    elif not target.is_file():
        why = "an open question is not published"
        yield look.settled_at_start(Code.ESCALATION_MISSING, why, target, ref, "publishes it")
    elif target.read_bytes() != source.read_bytes():
        why = "an older question is published"
        yield look.settled_at_start(Code.ESCALATION_STALE, why, target, ref, "publishes the newest")


def _asked(look: Look) -> Iterator[Finding]:
    for entry in look.entries:
        if entry.folder != "escalations" or entry.standing is not Standing.LEGAL:
            continue
        ref = entry.path.name.removesuffix(".json")
        task = look.task(ref)
        plan_id = split_ref(ref)[0]
        if plan_id in look.unreadable or (task is not None and task.last is None):
            continue
        if task is None and (look.layout.pruned / plan_id).exists():
            continue
        if task is None or task.last is None or task.last.state is not TaskState.ESCALATED:
            why = "a question of a task that is not there" if task is None else "a question that is answered"
            yield fault(Code.ESCALATION_STALE, why, entry.path, ref, "--repair takes it back")


def _published(look: Look) -> Iterator[Finding]:
    for entry in look.entries:
        if entry.folder != "responses" or entry.standing is not Standing.LEGAL:
            continue
        name = entry.path.name.removesuffix(".json")
        if REJECTION.fullmatch(entry.path.name):
            continue
        plan_id = split_ref(name)[0]
        seen = look.plans.get(plan_id)
        if seen is not None:
            yield from _published_of(look, seen, name, entry.path)
        elif plan_id in look.unreadable or (look.layout.pruned / plan_id).exists():
            continue
        elif status_of(entry.path) not in {str(Status.REJECTED), None}:
            why = "an answer to no plan of this spool"
            yield note(Code.RESPONSE_STRAY, why, entry.path, name, "take it away if nobody waits for it")


def _published_of(look: Look, seen: SeenPlan, name: str, path: Path) -> Iterator[Finding]:
    several = len(seen.tasks) > 1
    if name == seen.plan.id:
        open_still = not all(task.is_final for task in seen.tasks)
        own = look.layout.plan(name).response
    else:
        task = look.task(name) if several else None
        if task is None:
            why = "an answer to no task of its plan"
            yield note(Code.RESPONSE_STRAY, why, path, name, "take it away if nobody waits for it")
            return
        open_still, own = not task.is_final, look.layout.task(name).response
    if open_still:
        rejected = status_of(path) == Status.REJECTED
        why = "a rejection, though the plan is admitted" if rejected else "an answer, though it is not finished"
        yield fault(Code.RESPONSE_TOO_EARLY, why, path, name, "--repair takes it back")
    elif status_of(own) is not None and path.is_file() and own.read_bytes() != path.read_bytes():
        why = f"differs from haikud's own, {own.relative_to(look.layout.root)}"
        yield note(Code.RESPONSE_STRAY, why, path, name, "take it away and drop the request again to get haikud's")


def status_of(path: Path) -> str | None:
    """The status that a published answer states; None where it cannot be read."""
    try:
        answer = read_model(path, Response)
    except (UnreadableFile, OSError):
        return None
    return str(answer.status) if answer is not None else None
