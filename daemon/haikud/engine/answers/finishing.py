"""Finishing: final decisions, what they mean for tasks that wait, and the publication of answers.

Each step works from the board and may be repeated: what a step could not do now (a full disk), or what a crash kept an
earlier daemon from doing, is still to be seen there the next time.
"""

from __future__ import annotations

from typing import Any

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.live import TaskStatus
from haikud.contracts.role_history import FinishedTask
from haikud.contracts.states import FINAL_STATES, TaskState, is_final
from haikud.engine.answers.final_word import FinalWord, write_final_word
from haikud.engine.answers.publication import publish_final
from haikud.engine.attempts.results import AttemptRecord
from haikud.engine.board import OpenTask, Published
from haikud.engine.engine import Engine, next_decision, told_of
from haikud.engine.live_status import task_status
from haikud.engine.log_levels import Warn
from haikud.engine.words import dependency_failed

MARKING = "marking tasks as published"


async def finish_task(
    engine: Engine,
    entry: OpenTask,
    state: TaskState,
    reason: str,
    *,
    record: AttemptRecord | None = None,
    **changes: Any,
) -> None:
    """Give a task its final decision, and publish its answer with it. The mark and its dependants are the next steps.

    `record`: the attempt that this settles, where it was the task's first.
    """
    word = final_word_of(engine, entry, state, reason, record=record, **changes)
    take_final_word(engine, entry, word.decision, await engine.write(write_final_word, word))


def final_word_of(
    engine: Engine,
    entry: OpenTask,
    state: TaskState,
    reason: str,
    *,
    record: AttemptRecord | None = None,
    **changes: Any,
) -> FinalWord:
    """What is to be written for that."""
    last = entry.decision
    return FinalWord(
        store=engine.store,
        plan=entry.plan,
        task=entry.task,
        last=last,
        decision=next_decision(last, state, reason, utc_now(), **changes),
        is_last=_is_last(engine, entry),
        record=record,
        evidence=entry.evidence,
    )


def take_final_word(engine: Engine, entry: OpenTask, decision: Decision, published: Published | None) -> None:
    """It is durable, and published but where that is None: what follows on the board and for people."""
    linked = entry.state
    engine.board.move(entry, decision)
    engine.tell(entry.plan.id, told_of(decision))
    entry.linked, entry.published = linked, published
    engine.board.touched.add(entry.plan.id)
    if published is not None:
        _tell_answered(engine, entry, published)


def _is_last(engine: Engine, entry: OpenTask) -> bool:
    """Whether all other tasks of its plan are published."""
    others = (one for one in engine.board.open_tasks_of(entry.plan.id) if one is not entry)
    return all(one.published is not None for one in others)


async def release_waiting(engine: Engine) -> None:
    """Queue the waiting tasks whose dependencies succeeded; fail those of which one did not."""
    for plan_id in list(engine.board.touched):
        doing = f"looking at the waiting tasks of {plan_id}"
        if not engine.trouble.must_wait(doing):
            with engine.trouble.apart(doing):
                await _release_of(engine, plan_id)
                engine.board.touched.discard(plan_id)


async def _release_of(engine: Engine, plan_id: str) -> None:
    changed = True
    while changed:
        changed = False
        for entry in engine.board.open_tasks_of(plan_id):
            if entry.state is TaskState.WAITING:
                changed = await _release(engine, entry) or changed


async def _release(engine: Engine, entry: OpenTask) -> bool:
    states = engine.board.plans[entry.plan.id].states
    for name in entry.task.dependencies:
        if is_final(states[name]) and states[name] is not TaskState.SUCCEEDED:
            reason = dependency_failed(entry.plan.task(name).ref, states[name])
            await engine.decide(entry, TaskState.FAILED, reason)
            return True
    # A dependant is given its dependencies' responses: they must be published.
    found = (engine.board.tasks.get(entry.plan.task(name).ref) for name in entry.task.dependencies)
    if all(one is None or one.published is not None for one in found):
        await engine.decide(entry, TaskState.QUEUED, "its dependencies succeeded")
        return True
    return False


async def publish_answers(engine: Engine) -> None:
    """Publish every task on the board that is final and is not published; it leaves the board."""
    for entry in _final(engine):
        doing = f"publishing {entry.ref}"
        if entry.published is None and not engine.trouble.must_wait(doing):
            with engine.trouble.apart(doing):
                await _publish(engine, entry)


async def mark_published(engine: Engine) -> None:
    """Mark those on the board that are published as such; they leave it."""
    marks = to_mark(engine)
    if marks:
        with engine.trouble.guard(MARKING):
            await engine.write(engine.store.move_links_finally, [move_of(entry) for entry in marks])
            for entry in marks:
                leave_marked(engine, entry)


def to_mark(engine: Engine) -> list[OpenTask]:
    """The tasks on the board that are final and published; none, where to mark them has failed just now."""
    if engine.trouble.must_wait(MARKING):
        return []
    return [entry for entry in _final(engine) if entry.published is not None]


def move_of(entry: OpenTask) -> tuple[str, TaskState | None, TaskState]:
    """The move of its link that is the mark, as `Store.move_links_finally` takes it."""
    return entry.ref, entry.linked, entry.state


def _final(engine: Engine) -> list[OpenTask]:
    return [entry for state in FINAL_STATES for entry in engine.board.in_state(state)]


async def _publish(engine: Engine, entry: OpenTask) -> None:
    """What could not be done with the decision, or by an earlier daemon."""
    is_last = _is_last(engine, entry)
    published = await engine.write(
        publish_final,
        engine.store,
        entry.plan,
        entry.task,
        entry.decision,
        is_last=is_last,
        evidence=entry.evidence,
    )
    entry.published = published
    _tell_answered(engine, entry, published)
    leave_marked(engine, entry)
    if not is_last:
        engine.board.touched.add(entry.plan.id)  # its dependants may start now
        engine.wake.set()


def leave_marked(engine: Engine, entry: OpenTask) -> None:
    """It is marked as published, and leaves the board."""
    assert entry.published is not None  # noqa: S101 - only what is published is marked
    engine.board.remove(entry, last_status(engine, entry, entry.published))
    _remember(engine, entry, entry.published)


def _tell_answered(engine: Engine, entry: OpenTask, published: Published) -> None:
    metrics = published.response.metrics
    engine.note(
        entry.plan.id,
        "answered",
        f"responses/{entry.plan.id}.json" if published.plan else "",
        ref=entry.ref,
        state=str(entry.state),
        detail={"metrics": metrics.model_dump(mode="json")},
    )
    why = "" if entry.state is TaskState.SUCCEEDED else f": {entry.decision.reason}"
    said = f"{entry.ref} {entry.state} in {metrics.duration_seconds:.1f} s, {metrics.cost_usd:.4f} USD{why}"
    engine.say(Warn(said) if entry.state is TaskState.FAILED else said)
    if published.plan is not None and len(entry.plan.tasks) > 1:
        engine.say(f"{entry.plan.id} finished: {published.plan.status}")


def _remember(engine: Engine, entry: OpenTask, published: Published) -> None:
    """What a task took that has succeeded is what the next ones of its role are estimated by."""
    metrics = published.response.metrics
    if entry.state is TaskState.SUCCEEDED:
        took = FinishedTask(
            cost_usd=metrics.cost_usd,
            sonnet_cost_usd=round(entry.spent_sonnet_usd, 9),
            seconds=metrics.duration_seconds,
        )
        engine.role_history.add(entry.role, took)


def last_status(engine: Engine, entry: OpenTask, published: Published) -> TaskStatus:
    """How a finished task is shown among those that finished lately: as the last of it, with what it cost in all."""
    metrics = published.response.metrics
    final = {
        "percent": 100 if entry.state is TaskState.SUCCEEDED else None,
        "reason": entry.decision.reason,
        "cost_usd": metrics.cost_usd,
        "tokens_used": metrics.tokens_used,
        "retry_at": None,
    }
    return task_status(engine, entry).model_copy(update=final)
