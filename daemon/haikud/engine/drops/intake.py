"""Intake: requests that were taken from incoming/ become plans, or rejections. Every one of them is answered.

The same explicit id again with the same content runs nothing twice; with other content it is told so. A request is
unlinked only after its plan, or its reason and its answer, are durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.ids import id_from_stem
from haikud.contracts.live import FaultKind
from haikud.contracts.plan import Plan
from haikud.contracts.states import is_final
from haikud.contracts.tombstone import Tombstone
from haikud.engine.admission.prepare import content_sha256, first_decisions, prepare_plan
from haikud.engine.admission.rejection import FaultCode, Rejected, id_already_used, make_fault, printable
from haikud.engine.answers.publication import publish_again
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.drops.setting_aside import reject_request
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.roles.files import RoleError
from haikud.spool.drops import DropFault, DropFolder, OddEntry, Taken
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.publish import retract_rejection
from haikud.spool.store import Store

MOST_PER_ROUND = 16
"""So many requests are taken in before the daemon looks at anything else."""

MOST_AHEAD = 4
"""So many requests are prepared at the same time: most of that is waiting for git."""

ROLES = "reading role files"

_FAULTS = {
    DropFault.EMPTY: FaultCode.EMPTY,
    DropFault.ALL_NUL: FaultCode.EMPTY,
    DropFault.TOO_LARGE: FaultCode.TOO_LARGE,
    DropFault.NOT_OWNED: FaultCode.SENDER_NOT_ALLOWED,
    DropFault.NOT_VOUCHED: FaultCode.SENDER_NOT_ALLOWED,
}

_FIXES = {
    DropFault.NOT_OWNED: "have it dropped by an allowed user, or the settings changed: allowed_uids, group",
    DropFault.NOT_VOUCHED: "chmod o-w the spool and its drop folders (`haikud doctor --repair`), then drop it again",
}


class Intake:
    """The requests that were taken and not finished yet."""

    def __init__(self, engine: Engine, drops: DropFolder, roles: RoleLookup) -> None:
        self._engine = engine
        self._drops = drops
        self._roles = roles
        self._ahead: dict[str, asyncio.Task[Plan]] = {}  # token -> the plan that is being prepared
        self.pending: deque[Taken | OddEntry] = deque()

    async def work(self) -> None:
        """Take some requests in. Raises OSError: then call again."""
        for _ in range(MOST_PER_ROUND):
            if not self.pending or self._engine.trouble.must_wait(ROLES):
                return
            taken = self.pending[0]
            try:
                await self._take_in(taken)
            except RoleError as error:
                # Whether the request is good cannot be known; it waits until the role file is mended.
                self._ahead.clear()
                self._engine.trouble.note(ROLES, error, kind=FaultKind.UNREADABLE, cure="mend that role file")
                return
            self._engine.trouble.heal(ROLES)
            self.pending.popleft()
            self._ahead.pop(taken.token, None)

    async def _take_in(self, taken: Taken | OddEntry) -> None:
        engine = self._engine
        try:
            plan = await self._plan_of(taken)
        except Rejected as rejected:
            if isinstance(taken, Taken) and rejected.states_id and await self._is_again(taken, rejected.plan_id):
                return
            await self._reject(taken, rejected)
            return
        assert isinstance(taken, Taken)  # noqa: S101 - an odd entry is always rejected
        use = await engine.aside(use_of_id, engine.store, plan.id)
        if use is None:
            await self._admit(plan, taken)
        elif not await self._is_again(taken, plan.id):
            same = use.content_sha256 == plan.content_sha256
            await self._reject(taken, id_already_used(plan.id, taken.name, sender=plan.sender, same=same))

    async def _plan_of(self, taken: Taken | OddEntry) -> Plan:
        """The plan of the first request; those behind it are prepared meanwhile. Raises Rejected and RoleError."""
        engine = self._engine
        for one in islice(self.pending, MOST_AHEAD):
            if one.token not in self._ahead:
                self._ahead[one.token] = asyncio.create_task(engine.aside(self._prepare, one))
                self._ahead[one.token].add_done_callback(_note_failure)
        try:
            plan = await self._ahead[taken.token]
        except OSError:
            del self._ahead[taken.token]  # prepared anew at the next try
            raise
        use = await engine.aside(use_of_id, engine.store, plan.id)
        if use is None or use.token == taken.token:
            return plan
        # Its id was used by a request before it, perhaps only since: an id made from the file's name makes way.
        return await engine.aside(self._prepare, taken)

    def _prepare(self, taken: Taken | OddEntry) -> Plan:
        """Off the loop. Raises Rejected and RoleError."""
        store = self._engine.store
        if isinstance(taken, OddEntry) or taken.data is None:
            raise unreadable(taken)
        return prepare_plan(
            taken.data,
            taken.name,
            taken.token,
            settings=self._engine.settings,
            spool_root=self._engine.layout.root,
            now=utc_now(),
            catalogue=self._roles.catalogue(),
            is_taken=lambda plan_id: store.has_plan(plan_id) or store.is_pruned(plan_id),
        )

    async def _admit(self, plan: Plan, taken: Taken) -> None:
        engine = self._engine
        decisions = first_decisions(plan, plan.admitted_at)
        await engine.write(self._admit_on_disk, plan, taken)
        put_on_board(engine, plan, decisions)
        count = f" ({len(plan.tasks)} tasks)" if len(plan.tasks) > 1 else ""
        engine.note(plan.id, "admitted", f"{taken.name}{count}", detail={"warnings": plan.warnings})
        engine.say(f"admitted {plan.id}{count}")
        for warning in plan.warnings:
            engine.say(Warn(f"{plan.id}: warning: {warning}"))
        await engine.write(self._drops.finish, taken)

    def _admit_on_disk(self, plan: Plan, taken: Taken) -> None:
        engine = self._engine
        engine.store.admit(plan, taken.data or b"", first_decisions(plan, plan.admitted_at))
        with engine.trouble.guard("taking back a rejection", once=True):
            retract_rejection(engine.layout, plan.id)

    async def _is_again(self, taken: Taken, plan_id: str) -> bool:
        """Whether this very request was admitted before; then it is taken out, and answered again if it is finished."""
        engine = self._engine
        use = await engine.aside(use_of_id, engine.store, plan_id)
        if use is None or taken.data is None or use.content_sha256 != content_sha256(taken.data):
            return False
        plan = use.plan
        if plan is None and use.token != taken.token:
            return False  # it is pruned, and its answer with it: who asks again is told so
        if plan is not None and plan.token == taken.token:
            decisions = await engine.aside(last_decisions, engine.store, plan)
            is_open = any(not is_final(decision.state) for decision in decisions.values())
            if plan_id not in engine.board.plans and is_open:  # its admission was cut short just after its commit
                put_on_board(engine, plan, decisions)
        else:
            if plan is not None:
                if plan_id not in engine.board.plans:
                    await engine.write(publish_again, engine.store, plan)
                engine.note(plan_id, "dropped_again", taken.name)
            engine.say(f"{plan_id} was asked again; nothing runs twice")
        await engine.write(self._drops.finish, taken)
        return True

    async def _reject(self, taken: Taken | OddEntry, rejected: Rejected) -> None:
        engine = self._engine
        name = await engine.write(reject_request, engine.layout, taken, rejected)
        engine.say(Warn(f"rejected {printable(taken.name)} (responses/{name}): {rejected.reason}"))


def put_on_board(engine: Engine, plan: Plan, decisions: Mapping[str, Decision]) -> None:
    """A plan that was just admitted."""
    engine.board.add_plan(plan, {task: decision.state for task, decision in decisions.items()}, {})
    for task in plan.tasks:
        engine.board.add_task(plan, task, decisions[task.id])


@dataclass(frozen=True)
class Use:
    """By what an id is used. Each text is "" where it is not known."""

    content_sha256: str = ""  # of the request
    token: str = ""
    plan: Plan | None = None  # None: it is pruned, or cannot be read


def use_of_id(store: Store, plan_id: str) -> Use | None:
    """By what an id is used; None where it is free."""
    try:
        if store.has_plan(plan_id):
            plan = store.plan(plan_id)
            return Use(plan.content_sha256, plan.token, plan) if plan else Use()
        if store.is_pruned(plan_id):
            tombstone = read_model(store.layout.pruned / plan_id, Tombstone)
            return Use(tombstone.content_sha256, tombstone.token) if tombstone else Use()
    except UnreadableFile:
        return Use()
    return None


def last_decisions(store: Store, plan: Plan) -> dict[str, Decision]:
    """Task id -> its last decision."""
    found = {task.id: store.last_decision(task.ref) for task in plan.tasks}
    return {task_id: decision for task_id, decision in found.items() if decision is not None}


def _note_failure(task: asyncio.Task[Plan]) -> None:
    """Look at a preparation's exception, which is raised where it is awaited, if it ever is."""
    if not task.cancelled():
        task.exception()


def unreadable(taken: Taken | OddEntry) -> Rejected:
    """The rejection of a file whose bytes are of no use."""
    fault = (taken.fault if isinstance(taken, Taken) else DropFault.ODD) or DropFault.UNREADABLE
    code = _FAULTS.get(fault, FaultCode.UNREADABLE)
    why = make_fault(
        code,
        "",
        found=taken.why,
        expected="a regular file with a request in JSON or YAML, owned by an allowed user",
        fix=_FIXES.get(fault, "write the request to a dot-name in incoming/ and rename it when it is whole"),
    )
    return Rejected([why], plan_id=id_from_stem(PurePath(taken.name).stem), name=taken.name)
