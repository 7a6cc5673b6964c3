"""One attempt that is to start, from the word to start it to its runner.

Whoever starts one decides in the loop (`start_at_once`; where somebody or something has to be asked first, or anything
stands against it, starting.py), puts it into a batch on the writing thread, alone or with what else is decided then,
and when that batch is committed settles it there and carries it out in the loop. Nothing is launched before.

A crash before the commit leaves an attempt folder that the next try writes anew; a crash after it leaves a running task
without a runner, which recovery settles as one that never began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.decision import Decision
from haikud.contracts.gateway import GatewayPlace
from haikud.contracts.guidance import GivenGuidance
from haikud.contracts.live import FaultKind
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.engine.attempts.environment import runner_environment
from haikud.engine.attempts.money import Purses, new_attempt_token
from haikud.engine.attempts.ordering import Preparation
from haikud.engine.attempts.references import has_references
from haikud.engine.attempts.role_lookup import NoSuchRole, RoleLookup
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine, next_decision, told_of
from haikud.engine.launchers.protocol import End, EndKind, LaunchFailed, LaunchOrder, attempt_name
from haikud.engine.listed_repositories import why_not_listed
from haikud.engine.machine.examining import look_at_filesystem
from haikud.engine.machine.faults import OF_THE_MACHINE, kind_of
from haikud.engine.routing.speaking import question_before_start
from haikud.sandbox.newcomers import boot_ticks
from haikud.spool.batch import Batch
from haikud.spool.layout import TaskPaths


@dataclass(frozen=True)
class Start:
    """See the module's head."""

    engine: Engine
    plan: Plan
    decision: Decision  # that runs it
    preparation: Preparation
    token: str | None  # of the gateway, for an attempt that calls models

    @property
    def ref(self) -> str:
        """The task's."""
        return self.decision.ref

    def put_into(self, batch: Batch) -> None:
        """On the writing thread: the attempt's order and the decision, which the batch's commit makes durable."""
        store, last = self.engine.store, self.preparation.last
        store.keep_decision(last, self.plan)  # our word holds, whoever deleted it
        self.preparation.put_into(batch)
        store.add_decision(batch, last, self.decision)

    def put_into_build(self, batch: Batch, built: TaskPaths) -> None:
        """On the writing thread: the order, in the folder of a task whose plan is being admitted with the decision."""
        self.preparation.put_into(batch, built)

    def settle(self) -> None:
        """On the writing thread, after the commit: the task's link, and a line in the ledger."""
        self.engine.store.move_link(self.ref, self.decision.state, known=self.preparation.last.state)
        self.engine.append(self.plan.id, [told_of(self.decision)])

    def write(self) -> None:
        """On the writing thread: both, with a batch of its own."""
        batch = Batch()
        try:
            self.put_into(batch)
            batch.commit()
        finally:
            batch.discard()
        self.settle()

    async def carry_out(self) -> End | None:
        """In the loop, after the commit: the board, and the runner. How it ended, where it could not be started."""
        engine, decision, role = self.engine, self.decision, self.preparation.role
        entry = engine.board.tasks[self.ref]
        engine.board.move(entry, decision)
        if self.token is not None:
            engine.gateway.tokens.add(attempt_name(entry.ref, decision.attempt))
        limits = self.preparation.settings.limits
        entry.role, entry.model = role.name, model_of(role, self.preparation.task)
        entry.forget_attempt()
        entry.ends_at = engine.clock() + limits.attempt_seconds
        entry.grace_seconds = limits.grace_seconds
        return await self._launch(entry)

    async def _launch(self, entry: OpenTask) -> End | None:
        engine, number = self.engine, self.decision.attempt
        paths = engine.layout.task(entry.ref)
        attempt = paths.attempt(number)
        order = LaunchOrder(
            ref=entry.ref,
            attempt=number,
            folder=attempt.folder,
            log=paths.log,
            environment=runner_environment(engine.host, engine.settings, attempt),
            key=self.token,
            tokens=engine.secrets.github_tokens if engine.settings.issues == "github" else {},
            given=engine.secrets.given if engine.settings.git.push else {},
            masked=engine.secrets.masked,
        )
        born = boot_ticks()
        try:
            entry.handle = await engine.launcher.start(order)
        except LaunchFailed as error:
            return _not_started(engine, entry, error)
        # Where it was not seen to start, its end will not be seen either.
        entry.born = born if entry.handle.pid is not None else None
        engine.say(f"started {entry.ref} attempt {number} pid {entry.handle.pid}")
        return None


def new_start(
    engine: Engine,
    plan: Plan,
    task: Task,
    last: Decision,
    *,
    role: ResolvedRole,
    purses: Purses,
    usd: float,
    now: datetime,
    gateway: GatewayPlace | None,
    given: Sequence[GivenGuidance] = (),
) -> Start:
    """The next attempt of a task whose last decision is `last`. `task`: with the results that it names.

    `gateway`: where its model calls go, if it is to have a token for any. From any thread.
    """
    number, mode = last.attempt + 1, engine.sandbox
    assert mode is not None  # noqa: S101 - may_start() has asked, and only the next round may change it
    token, good_for = None, None
    if gateway is not None:
        token, good_for = new_attempt_token(plan, task, number, role, purses, engine.settings, now)
    preparation = Preparation(
        store=engine.store,
        plan=plan,
        last=last,
        task=task,
        role=role,
        given=list(given),
        settings=engine.settings,
        base_url=engine.secrets.base_url,
        spool_id=engine.spool_id,
        usd=usd,
        now=now,
        gateway=gateway,
        token=good_for,
        sandbox=mode,
    )
    decision = next_decision(last, TaskState.RUNNING, f"attempt {number} as {role.name}", now, attempt=number)
    return Start(engine, plan, decision, preparation, token)


def start_at_once(
    engine: Engine,
    roles: RoleLookup,
    plan: Plan,
    task: Task,
    last: Decision,
    *,
    purses: Purses,
    gateway: GatewayPlace | None,
    now: datetime,
) -> Start | None:
    """As `new_start`, where nobody and nothing has to be asked first; None where it has, or may not start now.

    `gateway`: where it is, if it is there already. Quick enough for the loop, and from any thread.
    """
    settings, where = engine.settings, task.repository
    if last.escalation is not None or has_references(task):
        return None
    if where is not None and (is_barred(engine, task) or full_filesystem(engine, task)):
        return None
    try:
        role = roles.known(task, last)
    except NoSuchRole:
        return None
    if role is None or question_before_start(task, last, role, settings) is not None:
        return None
    paid = calls_a_model(role, task)
    share = purses.share(paid=paid)
    is_metered = paid and engine.gateway.is_possible
    if share.exhausted is not None or (is_metered and gateway is None):
        return None
    place = gateway if is_metered else None
    return new_start(engine, plan, task, last, role=role, purses=purses, usd=share.usd, now=now, gateway=place)


def is_barred(engine: Engine, task: Task) -> str | None:
    """Why its repository is not listed any more, if so: settings may change, and what a path leads to."""
    where = task.repository
    return why_not_listed([where.path, where.git_common_dir], engine.settings.repositories) if where else None


def full_filesystem(engine: Engine, task: Task) -> str | None:
    """What is full where the task's repository lies, if so; the spool's own filesystem is looked at for all tasks."""
    where = task.repository
    if where is None or engine.settings.min_free_bytes == 0:
        return None
    return look_at_filesystem(Path(where.path), engine.settings.min_free_bytes).get(FaultKind.NO_SPACE)


def doing(ref: str) -> str:
    """What the start of a task is called when it fails."""
    return f"starting {ref}"


def _not_started(engine: Engine, entry: OpenTask, failed: LaunchFailed) -> End:
    """A runner that could not be started. What the machine refuses to one it refuses to all: nothing else is tried."""
    cause = failed.__cause__
    kind = kind_of(cause, starting=True) if isinstance(cause, OSError) else None
    refused = kind in OF_THE_MACHINE - {FaultKind.PERMISSION_DENIED}
    if cause is not None and refused:
        engine.trouble.note(doing(entry.ref), cause, kind=kind, once=True)
    return End(EndKind.NOT_STARTED, why=str(failed), refused=refused)


def calls_a_model(role: ResolvedRole, task: Task) -> bool:
    """Whether the attempt can spend money: an operation of the role runs without a model."""
    if role.command is not None:
        return role.credential
    return task.operation is None or task.operation not in role.operations


def model_of(role: ResolvedRole, task: Task) -> str:
    """The model that the attempt is to call; "" where it calls none. A command agent may choose another one."""
    return role.model if calls_a_model(role, task) else ""
