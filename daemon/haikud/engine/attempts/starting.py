"""Starting attempts: pick, allot, order and decide at once, launch; nothing is launched before all that is durable.

An attempt that calls models gets a token of the gateway in place of the API's key, before it is decided to run: a token
whose attempt does not run is removed at the next start.

A crash before the decision `running` leaves an attempt folder that the next try writes anew; a crash after it leaves a
running task without a runner, which recovery settles as one that never began, with or without an order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.base import utc_now
from haikud.contracts.envelope import Response
from haikud.contracts.live import FaultKind
from haikud.contracts.plan import Plan, Task
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.engine.answers.finishing import finish_task
from haikud.engine.attempts.given import LostGuidance, read_given
from haikud.engine.attempts.money import allotment, new_attempt_token, out_of_money, task_purse
from haikud.engine.attempts.ordering import Preparation
from haikud.engine.attempts.references import Unresolved, has_references, resolve_task
from haikud.engine.attempts.role_lookup import NoSuchRole, RoleLookup
from haikud.engine.attempts.settlement import escalate_task
from haikud.engine.attempts.specs import secret_values
from haikud.engine.board import OpenTask
from haikud.engine.budgets import Allotment
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End, EndKind, LaunchFailed, LaunchOrder, attempt_name
from haikud.engine.listed_repositories import why_not_listed
from haikud.engine.live_status import held_back
from haikud.engine.machine.examining import look_at_filesystem
from haikud.engine.machine.faults import OF_THE_MACHINE, kind_of
from haikud.engine.routing.speaking import question_before_start
from haikud.engine.scheduler import pick_next
from haikud.engine.words import unresolved_reference
from haikud.sandbox.newcomers import boot_ticks
from haikud.spool.layout import AttemptPaths
from haikud.spool.models import read_model
from haikud.spool.store import Store

PASSED_ON = (
    *("PATH", "HOME", "LANG"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "ANTHROPIC_CONFIG_DIR"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("XDG_CONFIG_HOME", "GH_CONFIG_DIR", "GH_HOST", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),  # gh's own login
)
"""What a runner gets of the daemon's environment, beside what the settings name."""


async def start_what_may(engine: Engine, roles: RoleLookup) -> list[tuple[OpenTask, End]]:
    """Start queued tasks as long as there is room; those that could not be started come back to be settled."""
    failed: list[tuple[OpenTask, End]] = []
    passed_over: set[str] = set()
    without_room: set[str | None] = set()
    while engine.may_start():
        pick = pick_next(
            engine.board.line if held_back(engine) is None else engine.board.line_of_answered(),
            [entry.candidate for entry in engine.board.in_state(TaskState.RUNNING)],
            max_agents=min(engine.settings.max_agents, engine.launcher.capacity or engine.settings.max_agents),
            per_repository=engine.settings.max_agents_per_repository,
            may_start=lambda ref: ref not in passed_over and not engine.trouble.must_wait(_doing(ref)),
            closed=without_room,
        )
        _tell_who_waits(engine, pick.held_back)
        if pick.chosen is None:
            break
        entry = engine.board.tasks[pick.chosen.ref]
        passed_over.add(entry.ref)
        if _has_no_room(engine, entry):
            without_room.add(entry.candidate.repository)
            continue
        with engine.trouble.apart(_doing(entry.ref)):
            if await _is_barred(engine, entry):
                continue
            end = await _start(engine, roles, entry)
            if end is not None:
                failed.append((entry, end))
    return failed


async def _is_barred(engine: Engine, entry: OpenTask) -> bool:
    """Whether its repository is not listed any more: settings may change, and what a path leads to. It fails then."""
    where = entry.task.repository
    why = why_not_listed([where.path, where.git_common_dir], engine.settings.repositories) if where else None
    if where and why:
        await finish_task(engine, entry, TaskState.FAILED, f"its repository {where.path} {why}")
    return why is not None


def _doing(ref: str) -> str:
    return f"starting {ref}"


def _has_no_room(engine: Engine, entry: OpenTask) -> bool:
    """Whether the task's repository lies on a filesystem that is full; the spool's own is looked at for all tasks."""
    where = entry.task.repository
    if where is None or engine.settings.min_free_bytes == 0:
        return False
    full = look_at_filesystem(Path(where.path), engine.settings.min_free_bytes).get(FaultKind.NO_SPACE)
    if full is not None:
        doing = f"starting tasks in {where.path}"
        engine.trouble.mention(FaultKind.NO_SPACE, doing, full, seconds=2 * engine.settings.rescan_seconds)
    return full is not None


async def _start(engine: Engine, roles: RoleLookup, entry: OpenTask) -> End | None:
    now = utc_now()
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
    share = await allotment(engine, entry, now) if paid else Allotment(max(0.0, task_purse(engine, entry).left))
    if share.exhausted is not None:
        await out_of_money(engine, entry, share.exhausted, now)
        return None
    number, settings = entry.decision.attempt + 1, engine.settings
    is_metered = paid and engine.gateway.is_possible
    token, good_for = new_attempt_token(engine, entry, role, now) if is_metered else (None, None)
    mode = engine.sandbox
    assert mode is not None  # noqa: S101 - may_start() has asked, and only the next round may change it
    preparation = Preparation(
        store=engine.store,
        plan=entry.plan,
        last=entry.decision,
        task=task,
        role=role,
        given=given,
        settings=settings,
        base_url=engine.secrets.base_url,
        spool_id=engine.spool_id,
        usd=share.usd,
        now=now,
        gateway=engine.gateway.place() if is_metered else None,
        token=good_for,
        sandbox=mode,
    )
    said = f"attempt {number} as {role.name}"
    await engine.decide(entry, TaskState.RUNNING, said, also=preparation.put_into, attempt=number)
    if is_metered:
        engine.gateway.tokens.add(attempt_name(entry.ref, number))
    entry.role, entry.model = role.name, model_of(role, task)
    entry.forget_attempt()
    entry.ends_at = engine.clock() + settings.limits.attempt_seconds
    entry.grace_seconds = settings.limits.grace_seconds
    return _launch(engine, entry, number, token)


def _launch(engine: Engine, entry: OpenTask, number: int, token: str | None) -> End | None:
    paths = engine.layout.task(entry.ref)
    attempt = paths.attempt(number)
    order = LaunchOrder(
        ref=entry.ref,
        attempt=number,
        folder=attempt.folder,
        log=paths.log,
        environment=runner_environment(engine.host, engine.settings, attempt),
        key=token,
        tokens=engine.secrets.github_tokens if engine.settings.issues == "github" else {},
        given=engine.secrets.given if engine.settings.git.push else {},
        masked=engine.secrets.masked,
    )
    born = boot_ticks()
    try:
        entry.handle = engine.launcher.start(order)
    except LaunchFailed as error:
        return _not_started(engine, entry, error)
    entry.born = born if entry.handle.pid is not None else None  # else it was not seen to start, nor will its end be
    engine.say(f"started {entry.ref} attempt {number} pid {entry.handle.pid}")
    return None


def _not_started(engine: Engine, entry: OpenTask, failed: LaunchFailed) -> End:
    """A runner that could not be started. What the machine refuses to one it refuses to all: nothing else is tried."""
    cause = failed.__cause__
    kind = kind_of(cause, starting=True) if isinstance(cause, OSError) else None
    refused = kind in OF_THE_MACHINE - {FaultKind.PERMISSION_DENIED}
    if cause is not None and refused:
        engine.trouble.note(_doing(entry.ref), cause, kind=kind, once=True)
    return End(EndKind.NOT_STARTED, why=str(failed), refused=refused)


def calls_a_model(role: ResolvedRole, task: Task) -> bool:
    """Whether the attempt can spend money: an operation of the role runs without a model."""
    if role.command is not None:
        return role.credential
    return task.operation is None or task.operation not in role.operations


def model_of(role: ResolvedRole, task: Task) -> str:
    """The model that the attempt is to call; "" where it calls none. A command agent may choose another one."""
    return role.model if calls_a_model(role, task) else ""


def runner_environment(host: Mapping[str, str], settings: Settings, paths: AttemptPaths) -> dict[str, str]:
    """A runner's environment, built from nothing; never the key, nor what secrets.names keeps from agents.

    Of `set_values` those that look secret: they stand in no spec.json. HAIKUD_OUT marks the runner's process tree.
    """
    kept_back = {*settings.secrets.names, "ANTHROPIC_API_KEY"}
    values = plain_environment(host, settings.environment.pass_names) | secret_values(settings.environment)
    return {name: values[name] for name in values if name not in kept_back} | {"HAIKUD_OUT": str(paths.out)}


def plain_environment(host: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """What every process of ours gets, runners and their forkserver, and the named variables. Never the key."""
    found = {name: host.get(name) for name in (*PASSED_ON, *more) if name != "ANTHROPIC_API_KEY"}
    fallback = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return fallback | {name: value for name, value in found.items() if value is not None}


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
