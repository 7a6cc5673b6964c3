"""Settlement: from an attempt that is over to the task's next decision. Policy decides; here it is carried out.

A person's word outranks policy: a cancelled task is cancelled however its attempt ended, and one that was to pause is
not tried again before it is resumed. The claim is held until the decision is durable. Everything before that may be
repeated after an OSError, and after a crash; what an attempt has used is durable before (usage.json, or for one without
a gateway the day's record, by the attempt's name).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from haikud.contracts.attempt import EndOrder, Question
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.answers.finishing import finish_task
from haikud.engine.answers.history import read_history
from haikud.engine.answers.responses import escalation_message
from haikud.engine.attempts.aftermath import Aftermath
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.log_levels import Warn
from haikud.engine.policy import (
    Escalate,
    Finish,
    History,
    Next,
    Pause,
    PauseQueue,
    Retry,
    decide_next,
)
from haikud.engine.queue import pause_queue
from haikud.spool.durable import make_durable, write_durably
from haikud.spool.models import dump
from haikud.spool.store import Store


async def settle_attempt(engine: Engine, aftermath: Aftermath) -> None:
    """Settle one attempt. A result counts only for the task's current attempt. Raises OSError: then call again."""
    entry = settled_entry(engine, aftermath)
    if entry is None:
        aftermath.release()
        return
    if (
        aftermath.result is not None and not aftermath.is_durable
    ):  # seen is not durable: its runner may have died between the two
        await engine.write(make_durable, engine.layout.task(aftermath.ref).attempt(aftermath.attempt).result)
    now = utc_now()
    following = what_follows(engine, entry, aftermath, now)
    entry.evidence = aftermath.evidence
    if aftermath.usage.cost_usd > 0 and not aftermath.is_metered:
        name = attempt_name(aftermath.ref, aftermath.attempt)
        await engine.write(engine.day.count, name, aftermath.usage.cost_usd, now)
    await _carry_out(engine, entry, aftermath, following)
    close_attempt(engine, entry, aftermath)


def settled_entry(engine: Engine, aftermath: Aftermath) -> OpenTask | None:
    """The task of which that is the current attempt; None where there is none any more."""
    entry = engine.board.tasks.get(aftermath.ref)
    if entry is None or entry.state is not TaskState.RUNNING or entry.decision.attempt != aftermath.attempt:
        return None
    return entry


def close_attempt(engine: Engine, entry: OpenTask, aftermath: Aftermath) -> None:
    """When its decision is durable: what it took is counted and told, and the claim let go."""
    _count_money(engine, entry, aftermath)
    _tell_of_intervention(engine, entry, aftermath)
    entry.handle = None
    entry.forget_attempt()
    aftermath.release()


def what_follows(engine: Engine, entry: OpenTask, aftermath: Aftermath, now: datetime) -> Next:
    """Policy's word, or a person's where there is one."""
    last, ordered = entry.decision, entry.ordered_end
    if ordered is not None and ordered.order is EndOrder.CANCEL:
        late = aftermath.ending.outcome is AttemptOutcome.COMPLETED
        return Finish(
            TaskState.CANCELLED, f"{ordered.reason}; its attempt had just completed" if late else ordered.reason
        )
    history = History(
        failures=last.failures,
        orphans=last.orphans,
        failed_starts=aftermath.failed_starts,
        hindered=aftermath.hindered,
        retries=engine.settings.retries,
        quota_pause_seconds=engine.settings.api.quota_pause_seconds,
        fence_seconds=engine.launcher.fence_seconds,
    )
    following = decide_next(history, aftermath.ending, now)
    if entry.pause_token is not None and isinstance(following, Retry):
        return Pause(f"paused; {following.reason}", restarted=following.restarted)
    if entry.pause_token is not None and isinstance(following, PauseQueue):
        return replace(following, is_paused=True)
    return following


async def _carry_out(engine: Engine, entry: OpenTask, aftermath: Aftermath, following: Next) -> None:
    outcome = aftermath.ending.outcome
    fresh = aftermath.owes_fresh
    match following:
        case Finish():
            await finish_task(engine, entry, **final_fields(entry, aftermath, following))
        case Retry(at, reason, failures, orphans, restarted):
            await engine.decide(
                entry,
                TaskState.QUEUED if at is None else TaskState.DEFERRED,
                reason,
                outcome=outcome,
                retry_at=at,
                failures=failures,
                orphans=orphans,
                restarts=entry.decision.restarts + restarted,
                fresh=fresh or restarted,
            )
            engine.say(Warn(f"{entry.ref} attempt {aftermath.attempt}: {outcome}; {reason}"))
        case Escalate(question, reason):
            await escalate_task(engine, entry, question, reason, outcome=outcome, fresh=fresh)
        case Pause(reason, restarted):
            await engine.decide(
                entry,
                TaskState.PAUSED,
                reason,
                outcome=outcome,
                token=entry.pause_token,
                resume_to=TaskState.QUEUED,
                restarts=entry.decision.restarts + restarted,
                fresh=fresh or restarted,
            )
            engine.say(f"{entry.ref} paused")
        case PauseQueue(until, reason, is_paused):
            await pause_queue(engine, reason, until=until, ref=entry.ref)
            where: dict[str, Any] = {}
            if is_paused:
                where = {"token": entry.pause_token, "resume_to": TaskState.DEFERRED}
            state = TaskState.PAUSED if is_paused else TaskState.DEFERRED
            await engine.decide(entry, state, reason, outcome=outcome, retry_at=until, fresh=fresh, **where)


def final_fields(entry: OpenTask, aftermath: Aftermath, following: Finish) -> dict[str, Any]:
    """What `finish_task` is told of an attempt after which nothing comes."""
    ordered, state = entry.ordered_end, following.state
    return {
        "state": state,
        "reason": following.reason,
        "record": aftermath.record,
        "outcome": aftermath.ending.outcome,
        "token": ordered.token if ordered and state is TaskState.CANCELLED else None,
        "fresh": False,
    }


async def escalate_task(
    engine: Engine,
    entry: OpenTask,
    question: Question,
    reason: str,
    *,
    fresh: bool,
    outcome: AttemptOutcome | None = None,
) -> None:
    """Open a question: the file first, then the decision; publishing it in escalations/ is a step of its own.

    `fresh`: the conversation was to begin anew, and has not yet.
    """
    number = (entry.decision.escalation or 0) + 1
    # The history as it will be: this attempt counts already, though its decision is not written yet.
    planned = entry.decision.model_copy(update={"outcome": outcome})
    await engine.write(_write_question, engine.store, entry, planned, question, number)
    await engine.decide(
        entry, TaskState.ESCALATED, reason, outcome=outcome, escalation=number, guidance=None, fresh=fresh
    )
    entry.is_asked, entry.raised, entry.raised_at = False, 0, None
    engine.say(Warn(f"{entry.ref} asks: {reason}"))


def _write_question(store: Store, entry: OpenTask, planned: Decision, question: Question, number: int) -> None:
    history = read_history(store, entry.plan, entry.task, planned, settling=planned)
    message: Response = escalation_message(history, question, number, utc_now())
    write_durably(store.layout.task(entry.ref).escalation(number), dump(message))


def _tell_of_intervention(engine: Engine, entry: OpenTask, aftermath: Aftermath) -> None:
    """What the runner's own look has found; what the monitors ordered is in the ledger since then."""
    found = aftermath.ending.intervention
    if found is not None and entry.intervention is None:
        detail = found.model_dump(mode="json")
        engine.note(
            entry.plan.id, "intervention", found.message, ref=entry.ref, attempt=aftermath.attempt, detail=detail
        )
    elif found is None and entry.intervention is not None:
        engine.say(f"{entry.ref} attempt {aftermath.attempt} ended before the monitor's order reached it")


def _count_money(engine: Engine, entry: OpenTask, aftermath: Aftermath) -> None:
    used = aftermath.usage
    entry.spent_usd += used.cost_usd
    entry.spent_sonnet_usd += used.sonnet_cost_usd
    entry.spent_tokens += used.tokens_used
    owner = engine.board.plans.get(entry.plan.id)
    if owner is not None:
        engine.board.count_money(owner, entry.task.id, entry.spent_usd, entry.spent_sonnet_usd)
    detail = {"ended_processes": aftermath.ended} if aftermath.ended else {}
    engine.note(
        entry.plan.id,
        "settled",
        aftermath.ending.message,
        ref=entry.ref,
        attempt=aftermath.attempt,
        outcome=str(aftermath.ending.outcome),
        usage=used,
        detail=detail,
    )
