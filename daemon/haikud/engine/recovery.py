"""Recovery: at start every task that is not final goes on from what the disk says.

Builds that never came to their commit point are removed, links without a plan dropped, links that disagree with their
decision moved. Then everything open is put on the board, where the ordinary steps take it up: final decisions are
published to the end, waiting tasks looked at again, timers are in the decisions, questions are published again. Of
running tasks the living are adopted; the others come back here as ended, to be settled.

Nothing but open tasks is read: the history may be long.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from haikud.contracts.attempt import Orders, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.ids import split_ref
from haikud.contracts.plan import Plan
from haikud.contracts.states import TaskState, is_final
from haikud.engine.answers.finishing import finish_task
from haikud.engine.attempts.ends import MARGIN_SECONDS, current_paths
from haikud.engine.attempts.results import Used, read_attempts, used_by
from haikud.engine.attempts.start import model_of
from haikud.engine.board import OpenTask, OrderedEnd
from haikud.engine.drops.setting_aside import finish_setting_aside, recorded_reasons
from haikud.engine.engine import Engine
from haikud.engine.gateway.accounts import had_token, spent_on
from haikud.engine.gateway.tokens import drop_tokens
from haikud.engine.launchers.protocol import End, EndKind, attempt_name
from haikud.engine.live_status import finished_status
from haikud.engine.lost import WHY, decision_from_link, why_lost
from haikud.engine.machine.faults import FAULTS, FOR_ALL, kind_of
from haikud.engine.plan_shelf import pack
from haikud.spool.claims import read_runner_age
from haikud.spool.drops import DropFolder
from haikud.spool.durable import remove_if_there
from haikud.spool.layout import AttemptPaths
from haikud.spool.leftovers import names_in, remove_leftovers, remove_task_leftovers, shared_folders
from haikud.spool.models import UnreadableFile, parse_record, read_model, read_record
from haikud.spool.publish import drop_rejection, publish_rejection, retract_rejection, unpublished_rejections
from haikud.spool.store import Store
from haikud.spool.taken import taken_at

CLOCK_SLACK_SECONDS = 60.0
"""By how much the clock may have been set back between taking a file and admitting its plan."""


MOST_AT_ONCE = 100
"""So many plans are read before they are put on the board."""


@dataclass(frozen=True)
class Found:
    """A plan with something open, as it lies on disk."""

    plan: Plan
    decisions: dict[str, Decision]  # of every task, by task id
    open_links: set[str]  # task ids whose link is in a folder that is not final
    used: dict[str, Used]  # by task id
    names: dict[str, list[str]]  # what lay in each task's folder, by task id
    packed: bytes  # the plan, for the board to keep


async def recover_tasks(engine: Engine) -> list[tuple[OpenTask, End]]:
    """Put everything open on the board; the running tasks whose runner is gone come back."""
    links, plan_ids = await engine.write(_tidy_spool, engine.store)
    gone: list[tuple[OpenTask, End]] = []
    for begin in range(0, len(plan_ids), MOST_AT_ONCE):  # so that never all of them lie in memory unpacked
        for one in await engine.write(_read_some, engine, plan_ids[begin : begin + MOST_AT_ONCE], links):
            gone += await _take_up(engine, one)
    if engine.board.tasks:
        engine.say(f"recovered {len(engine.board.tasks)} open tasks")
    return gone


async def recover_unread(engine: Engine) -> AsyncIterator[tuple[OpenTask, End]]:
    """Look again at the plans that could not be read: somebody may have mended them. As `recover_tasks`."""
    for plan_id in sorted(engine.unread):
        one = await engine.write(_read_again, engine, plan_id)
        if one is None:
            continue
        known = {entry.ref for entry in engine.board.open_tasks_of(plan_id)}
        try:
            gone = await _take_up(engine, one)
        except FAULTS:  # none of it: whose end nobody is told of would never be settled
            for entry in engine.board.open_tasks_of(plan_id):
                if entry.ref not in known:
                    engine.board.take_off(entry)
            engine.unread.add(plan_id)
            raise
        if engine.gateway.tokens:
            await engine.gateway.take_up()
        engine.say(f"{plan_id} can be read again")
        for entry, end in gone:
            yield entry, end


async def _take_up(engine: Engine, one: Found) -> list[tuple[OpenTask, End]]:
    """Put a plan's open tasks on the board; the running ones whose runner is gone come back."""
    gone: list[tuple[OpenTask, End]] = []
    used = {task_id: found.usage for task_id, found in one.used.items()}
    states = {task_id: decision.state for task_id, decision in one.decisions.items()}
    engine.board.add_plan(one.plan, states, used, packed=one.packed)
    if TaskState.WAITING in states.values():
        engine.board.touched.add(one.plan.id)
    for task in one.plan.tasks:
        decision = one.decisions[task.id]
        if task.ref in engine.board.tasks or (is_final(decision.state) and task.id not in one.open_links):
            if task.ref not in engine.board.tasks:
                engine.board.add_finished_before(finished_status(one.plan, task, decision, one.used[task.id]))
            continue
        known = one.used[task.id]
        entry = engine.board.add_task(
            one.plan, task, decision, tokens=known.usage.tokens_used, model=known.model if known.began else None
        )
        if WHY in decision.reason:
            entry.lost = why_lost(task.ref)
        if decision.state is TaskState.RUNNING:
            never = await engine.aside(_was_never_launched, current_paths(engine, entry), decision)
            if not await _adopt(engine, entry):
                gone.append((entry, End(EndKind.NEVER_LAUNCHED if never else EndKind.EXITED)))
        elif entry.lost and not is_final(decision.state):
            await finish_task(engine, entry, TaskState.FAILED, entry.lost)
    return gone


async def recover_gateway(engine: Engine) -> None:
    """Take up what an earlier daemon's gateway left, or the gateway itself: the day's sum, tokens, running calls.

    A token is good as long as its attempt runs; those of plans that cannot be read are left alone.
    """
    paths, now = engine.layout.gateway, utc_now()
    engine.day.hear(await engine.aside(spent_on, paths, now.date()), now)
    await engine.write(drop_tokens, paths, engine.gateway.tokens, engine.unread)
    await engine.gateway.take_up()


async def recover_drops(engine: Engine, requests: DropFolder, others: Iterable[DropFolder]) -> None:
    """Finish what an earlier daemon took and did not finish, where its consequence is recorded."""
    layout = engine.layout
    unpublished = await engine.aside(unpublished_rejections, layout)
    taken = await engine.write(requests.taken_tokens)
    plans = await engine.aside(_tokens_of_plans, engine.store, taken) if taken else {}
    for drops in others:
        taken += await engine.write(drops.taken_tokens)
    if not taken and not unpublished:
        return
    reasons = await engine.aside(recorded_reasons, layout)
    for token, path in taken:
        if token in plans:
            await engine.write(retract_rejection, layout, plans[token])
            await engine.write(remove_if_there, path)
        elif token in reasons:
            await engine.write(finish_setting_aside, layout, reasons[token], path)
    for token in unpublished:
        answered_as = reasons[token].answered_as if token in reasons else None
        if answered_as is None:
            await engine.write(drop_rejection, layout, token)
        else:
            await engine.write(publish_rejection, layout, token, answered_as)


def _was_never_launched(paths: AttemptPaths, decision: Decision) -> bool:
    """Whether the daemon died before it tried: a launcher makes the claim first. After a power cut nobody can tell."""
    is_of_this_boot = _age(None, paths, decision.at) < time.clock_gettime(time.CLOCK_BOOTTIME)
    made = (paths.claim, paths.runner, paths.events, paths.result)
    return is_of_this_boot and paths.spec.exists() and not any(path.exists() for path in made)


async def _adopt(engine: Engine, entry: OpenTask) -> bool:
    """Watch a living runner, with the limits and orders it was given. False where its claim is free."""
    paths = current_paths(engine, entry)
    spec, orders, ordered_for = await engine.aside(_read_order, paths)
    name = attempt_name(entry.ref, entry.decision.attempt)
    if await engine.aside(had_token, paths, engine.layout.gateway, entry.ref, entry.decision.attempt):
        engine.gateway.tokens.add(name)
    limits = spec.limits if spec else engine.settings.limits
    entry.grace_seconds = limits.grace_seconds
    entry.role = spec.role.name if spec else entry.role
    entry.model = model_of(spec.role, spec.task) if spec else None
    if orders is not None and orders.end is not None:
        # The grace began with the order: a daemon that dies again and again does not make it longer.
        kill_at = engine.clock() + max(0.0, limits.grace_seconds + MARGIN_SECONDS - ordered_for)
        entry.ordered_end = OrderedEnd(orders.end, orders.reason, None, kill_at)
    if orders and orders.intervene:
        entry.intervention = orders.intervene
        entry.seen = (*entry.seen, orders.intervene)
    entry.handle = engine.launcher.adopt(name, paths.folder)
    if entry.handle is None:
        return False
    entry.ends_at = engine.clock() + limits.attempt_seconds - _age(entry.handle.pid, paths, entry.decision.at)
    if entry.ordered_end is not None:
        engine.launcher.terminate(name)
    engine.say(f"adopted {entry.ref} attempt {entry.decision.attempt} pid {entry.handle.pid or 'not known yet'}")
    return True


def _age(pid: int | None, paths: AttemptPaths, moment: datetime) -> float:
    """For how many seconds a runner has been at it: by the kernel's clock, since the wall clock may have been set."""
    age = read_runner_age(paths.runner, pid) if pid is not None else None
    return age if age is not None else max(0.0, (utc_now() - moment).total_seconds())


def _read_order(paths: AttemptPaths) -> tuple[Spec | None, Orders | None, float]:
    """What the attempt was ordered, and for how many seconds; None where it cannot be read: then the settings hold."""
    try:
        spec, orders = read_model(paths.spec, Spec), read_model(paths.orders, Orders)
        ordered_for = utc_now().timestamp() - paths.orders.lstat().st_mtime if orders is not None else 0.0
    except (UnreadableFile, FileNotFoundError):
        return None, None, 0.0
    return spec, orders, max(0.0, ordered_for)


def _tidy_spool(store: Store) -> tuple[dict[str, TaskState], list[str]]:
    """Tidy up; every link of an open task, and the ids of their plans. On the writing thread."""
    store.recover_builds()
    remove_leftovers(shared_folders(store.layout))
    store.drop_links_without_plan()
    links = store.open_refs()
    return links, sorted({split_ref(ref)[0] for ref in links})


def _read_some(engine: Engine, plan_ids: Sequence[str], links: Mapping[str, TaskState]) -> list[Found]:
    """Read plans, move links that disagree. On the writing thread."""
    found = (_read_one(engine, plan_id, links) for plan_id in plan_ids)
    return [one for one in found if one is not None]


def _doing(plan_id: str) -> str:
    return f"reading the plan {plan_id}"


def _read_one(engine: Engine, plan_id: str, links: Mapping[str, TaskState]) -> Found | None:
    """A plan, tidied up; None where that cannot be done, which is a fault of that plan alone."""
    try:
        one = _read_plan(engine.store, plan_id, links)
        _agree(engine.store, one, links)
        _tidy_up(engine.store, one)
    except (UnreadableFile, OSError) as error:
        if kind_of(error) in FOR_ALL:
            raise
        engine.trouble.note(_doing(plan_id), error)
        engine.unread.add(plan_id)
        return None
    _forget_fault(engine, plan_id)
    return one


def _read_again(engine: Engine, plan_id: str) -> Found | None:
    if not engine.store.has_plan(plan_id):  # somebody has removed it
        _forget_fault(engine, plan_id)
        return None
    return _read_one(engine, plan_id, engine.store.open_refs())


def _forget_fault(engine: Engine, plan_id: str) -> None:
    engine.unread.discard(plan_id)
    engine.trouble.heal(_doing(plan_id))


def _agree(store: Store, one: Found, links: Mapping[str, TaskState]) -> None:
    """Make the links say what the decisions do."""
    for task in one.plan.tasks:
        decision = one.decisions[task.id]
        if not is_final(decision.state) and links.get(task.ref) is not decision.state:
            store.move_link(task.ref, decision.state)


def _tidy_up(store: Store, found: Found) -> None:
    """Remove what a killed daemon was writing. A running task's folders are its runner's too: its aftermath does it."""
    paths = store.layout.plan(found.plan.id)
    # What is written into a plan's folder comes after a decision, or together with one that lies in its task's folder.
    is_decided = any(decision.number > 1 for decision in found.decisions.values())
    if is_decided or any(name.endswith(".tmp") for names in found.names.values() for name in names):
        remove_leftovers([paths.folder])
    for task_id in found.open_links:
        if found.decisions[task_id].state is not TaskState.RUNNING:
            remove_task_leftovers(paths.task(task_id).folder, found.names[task_id])


def _read_plan(store: Store, plan_id: str, links: Mapping[str, TaskState]) -> Found:
    paths = store.layout.plan(plan_id)
    data = read_record(paths.plan)
    if data is None:
        raise UnreadableFile(paths.plan, "it is missing")
    plan = parse_record(paths.plan, data, Plan)
    found = Found(plan, {}, {task.id for task in plan.tasks if task.ref in links}, {}, {}, pack(data))
    for task in plan.tasks:
        task_paths = paths.task(task.id)
        found.names[task.id] = names_in(task_paths.folder)
        all_of = store.decisions(task.ref, task_paths, found.names[task.id])
        if not all_of and (known := decision_from_link(store, plan_id, task)):
            store.put_back(known, plan)
            all_of = [known]
        if not all_of:
            raise UnreadableFile(task_paths.decision(1), "no decision can be read")
        found.decisions[task.id] = all_of[-1]
        found.used[task.id] = used_by(read_attempts(task_paths, all_of))
    return found


def _tokens_of_plans(store: Store, left: list[tuple[str, Path]]) -> dict[str, str]:
    """Token -> plan id, of the plans that were admitted after the first of these files was taken.

    When that was its token says; its ctime may be older but never counts as later, since anyone who has a link to the
    file can change it.
    """
    since = min(min(taken_at(token), path.lstat().st_ctime) for token, path in left) - CLOCK_SLACK_SECONDS
    tokens: dict[str, str] = {}
    for plan_id in store.plan_ids():
        folder = store.layout.plan(plan_id).folder
        try:
            if folder.stat().st_mtime < since:
                continue
            plan = store.plan(plan_id)
        except (OSError, UnreadableFile):
            continue
        if plan is not None:
            tokens[plan.token] = plan_id
    return tokens
