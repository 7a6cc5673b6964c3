"""Starting attempts: pick, allot, order and decide at once, launch; nothing is launched before all that is durable.

What an attempt needs, and what a crash leaves of its start: start.py. Here is who is next, and all that has to be asked
or read before some attempts: a role's files, earlier answers, the results of dependencies, the day's journal. `Room` is
what the loop lets the writing thread start together with its admission.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.gateway import GatewayPlace
from haikud.contracts.live import FaultKind
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.engine.answers.finishing import finish_task
from haikud.engine.attempts.given import LostGuidance, read_given
from haikud.engine.attempts.money import allotment, day_purse, first_purses, out_of_money, purses_of
from haikud.engine.attempts.references import Unresolved, has_references, resolve_task
from haikud.engine.attempts.role_lookup import NoSuchRole, RoleLookup
from haikud.engine.attempts.settlement import escalate_task
from haikud.engine.attempts.start import (
    Start,
    calls_a_model,
    doing,
    full_filesystem,
    is_barred,
    new_start,
    start_at_once,
)
from haikud.engine.board import OpenTask, candidate_of
from haikud.engine.budgets import Purse
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End
from haikud.engine.live_status import held_back
from haikud.engine.routing.speaking import question_before_start
from haikud.engine.scheduler import Candidate, Line, pick_next
from haikud.engine.words import unresolved_reference
from haikud.spool.models import read_model
from haikud.spool.store import Store


async def start_what_may(engine: Engine, roles: RoleLookup) -> list[tuple[OpenTask, End]]:
    """Start queued tasks as long as there is room; those that could not be started come back to be settled."""
    failed: list[tuple[OpenTask, End]] = []
    passed_over: set[str] = set()
    without_room: set[str | None] = set()
    while engine.may_start():
        chosen = _next_in_line(engine, passed_over, without_room)
        if chosen is None:
            break
        entry = engine.board.tasks[chosen.ref]
        passed_over.add(entry.ref)
        with engine.trouble.apart(doing(entry.ref)):
            start = _at_once(engine, roles, entry)
            if start is None:
                if _has_no_room(engine, entry):
                    without_room.add(entry.candidate.repository)
                    continue
                start = await _after_asking(engine, roles, entry)
            if start is None:
                continue
            await engine.write(start.write)
            end = await start.carry_out()
            if end is not None:
                failed.append((entry, end))
    return failed


def starts_in_place_of(engine: Engine, roles: RoleLookup, endings: Sequence[OpenTask]) -> list[Start]:
    """Who are next in line once `endings` run no more, to be started with their last decisions, in one batch.

    The first for which more has to be done than `start_at_once` does ends it: nobody overtakes him.
    """
    starts: list[Start] = []
    if _something_stands_against(engine):
        return starts
    chosen: set[str] = set()
    running = [entry.candidate for entry in engine.board.in_state(TaskState.RUNNING) if entry not in endings]
    while (following := _next_in_line(engine, chosen, set(), running)) is not None:
        start = _at_once(engine, roles, engine.board.tasks[following.ref])
        if start is None:
            break
        starts.append(start)
        chosen.add(following.ref)
        running.append(following)
    return starts


def _next_in_line(
    engine: Engine,
    passed_over: set[str],
    without_room: set[str | None],
    running: Sequence[Candidate] | None = None,
) -> Candidate | None:
    if running is None:
        running = [entry.candidate for entry in engine.board.in_state(TaskState.RUNNING)]
    pick = pick_next(
        engine.board.line if held_back(engine) is None else engine.board.line_of_answered(),
        running,
        max_agents=most_agents(engine),
        per_repository=engine.settings.max_agents_per_repository,
        may_start=lambda ref: ref not in passed_over and not engine.trouble.must_wait(doing(ref)),
        closed=without_room,
    )
    _tell_who_waits(engine, pick.held_back)
    return pick.chosen


def most_agents(engine: Engine) -> int:
    """How many attempts may run at once."""
    return min(engine.settings.max_agents, engine.launcher.capacity or engine.settings.max_agents)


def _at_once(engine: Engine, roles: RoleLookup, entry: OpenTask) -> Start | None:
    now = utc_now()
    purses, gateway = purses_of(engine, entry, now), engine.gateway.place_if_there()
    return start_at_once(engine, roles, entry.plan, entry.task, entry.decision, purses=purses, gateway=gateway, now=now)


def _something_stands_against(engine: Engine) -> bool:
    """Whether nobody is to start with something else; by themselves they may, when the round has come to that.

    The account's pause is asked for itself: the queue follows it later in the round.
    """
    if not engine.may_start() or engine.queue.paused or engine.gateway.pause or engine.trouble.lasts_anything:
        return True
    return _others_are_to_line_up(engine)


def _others_are_to_line_up(engine: Engine) -> bool:
    """Whether the round will queue tasks before it comes to its starts: who starts now might overtake them."""
    board = engine.board
    owners = [board.plans[plan_id] for plan_id in board.touched if plan_id in board.plans]
    if any(TaskState.WAITING in owner.states.values() for owner in owners):
        return True
    deferred = board.in_state(TaskState.DEFERRED)
    if deferred and engine.day_may_have_room:
        return True
    return any(engine.deferred_seconds_left(entry) == 0 for entry in deferred)


@dataclass(frozen=True)
class Room:
    """What may start together with its admission, as the loop sees it: nobody waits in line, and nothing is amiss."""

    running: Sequence[Candidate]
    most: int
    day: Purse
    gateway: GatewayPlace | None  # if it is there already


def room_for_new(engine: Engine) -> Room | None:
    """Whether plans may start that are not there yet; None: they line up."""
    if _something_stands_against(engine):
        return None
    running, most = engine.board.in_state(TaskState.RUNNING), most_agents(engine)
    if len(running) >= most or engine.board.count(TaskState.QUEUED) or held_back(engine) is not None:
        return None
    gateway = engine.gateway.place_if_there()
    return Room([entry.candidate for entry in running], most, day_purse(engine, utc_now()), gateway)


def start_new(
    engine: Engine, roles: RoleLookup, plans: Sequence[tuple[Plan, Mapping[str, Decision]]], room: Room
) -> list[Start]:
    """Those tasks of plans that are about to be admitted which start with that, in their order.

    The first for which that cannot be ends it: nobody overtakes him. On the writing thread.
    """
    waiting = {
        candidate.ref: (plan, task, decisions[task.id], candidate)
        for plan, decisions in plans
        for task in plan.tasks
        if decisions[task.id].state is TaskState.QUEUED
        for candidate in (candidate_of(plan, task),)
    }
    line, running, starts = Line(one[-1] for one in waiting.values()), list(room.running), list[Start]()
    per_repository, now = engine.settings.max_agents_per_repository, utc_now()
    while (chosen := pick_next(line, running, max_agents=room.most, per_repository=per_repository).chosen) is not None:
        plan, task, last, _ = waiting[chosen.ref]
        purses = first_purses(engine.settings, task, room.day)
        start = start_at_once(engine, roles, plan, task, last, purses=purses, gateway=room.gateway, now=now)
        if start is None:
            break
        starts.append(start)
        running.append(chosen)
        line.remove(chosen)
    return starts


def _has_no_room(engine: Engine, entry: OpenTask) -> bool:
    """Whether the task's repository lies on a filesystem that is full."""
    full, where = full_filesystem(engine, entry.task), entry.task.repository
    if full is not None and where is not None:
        said = f"starting tasks in {where.path}"
        engine.trouble.mention(FaultKind.NO_SPACE, said, full, seconds=2 * engine.settings.rescan_seconds)
    return full is not None


async def _after_asking(engine: Engine, roles: RoleLookup, entry: OpenTask) -> Start | None:
    """The start of an attempt before which something has to be read; None where the task goes another way."""
    now = utc_now()
    where, why = entry.task.repository, is_barred(engine, entry.task)
    if where and why:
        await finish_task(engine, entry, TaskState.FAILED, f"its repository {where.path} {why}")
        return None
    try:
        role = roles.known(entry.task, entry.decision)
        if role is None:
            role = await engine.aside(roles.resolve, entry.task, entry.decision)
        task = entry.task
        if has_references(task):
            task = await engine.aside(with_results, engine.store, entry.plan, task)
    except (NoSuchRole, Unresolved) as error:
        reason = unresolved_reference(str(error)) if isinstance(error, Unresolved) else str(error)
        await finish_task(engine, entry, TaskState.FAILED, reason)
        return None
    question, given = question_before_start(entry.task, entry.decision, role, engine.settings), []
    if entry.decision.escalation is not None:  # else nothing was ever asked, nor answered
        try:
            given = await engine.aside(read_given, engine.store, entry.decision)
        except LostGuidance as lost:
            question = lost.question
    if question is not None:
        await escalate_task(engine, entry, question, question.reason, fresh=entry.decision.fresh)
        return None
    paid = calls_a_model(role, entry.task)
    share = await allotment(engine, entry, now, paid=paid)
    if share.exhausted is not None:
        await out_of_money(engine, entry, share.exhausted, now)
        return None
    return new_start(
        engine,
        entry.plan,
        task,
        entry.decision,
        role=role,
        purses=purses_of(engine, entry, now),
        usd=share.usd,
        now=now,
        gateway=engine.gateway.place() if paid and engine.gateway.is_possible else None,
        given=given,
    )


def with_results(store: Store, plan: Plan, task: Task) -> Task:
    """The task with the results that its texts name, from its dependencies' responses. Raises Unresolved."""

    def answer(task_id: str) -> dict[str, object] | None:
        if all(one.id != task_id for one in plan.tasks):
            return None  # admitted by a haikud that knew of no references: its braces were words
        found = read_model(store.layout.task(plan.task(task_id).ref).response, Response)
        return found.model_dump(mode="json") if found else None

    return resolve_task(task, answer)


def _tell_who_waits(engine: Engine, held_back: Mapping[str, tuple[str, str]]) -> None:
    """The ledger is told once for whom a task waits."""
    for ref, (rival, path) in held_back.items():
        entry = engine.board.tasks[ref]
        first, entry.waits_for = entry.waits_for is None, rival
        if first:  # not for each that follows: of thousands that wait, each end of one would make thousands of lines
            message = f"waits for {rival}, which declares {path} too"
            engine.note(entry.plan.id, "note", message, ref=ref)
            engine.say(f"{ref} {message}")
