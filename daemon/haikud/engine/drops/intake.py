"""Intake: requests that were taken from incoming/ become plans, or rejections. Every one of them is answered.

The same explicit id again with the same content runs nothing twice; with other content it is told so. A request is
unlinked only after its plan, or its reason and its answer, are durable.

What may start at once is ordered to run in the same batch, and launched as soon as that is durable (admitting.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import PurePath

from haikud.contracts.decision import Decision
from haikud.contracts.ids import id_from_stem
from haikud.contracts.live import FaultKind
from haikud.contracts.plan import Plan
from haikud.contracts.states import TaskState, is_final
from haikud.engine.admission.prepare import content_sha256
from haikud.engine.admission.rejection import FaultCode, Rejected, id_already_used, make_fault, printable
from haikud.engine.answers.publication import publish_again
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.starting import room_for_new
from haikud.engine.board import OpenTask
from haikud.engine.drops.admitting import Admitted, Done, Use, admit_first, finish_admitted, plan_from, use_of_id
from haikud.engine.drops.setting_aside import reject_request
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End, EndKind
from haikud.engine.log_levels import Warn
from haikud.roles.files import RoleError
from haikud.spool.drops import DropFault, DropFolder, OddEntry, Scan, Taken
from haikud.spool.store import Store

MOST_PER_ROUND = 16
"""So many requests are taken in before the daemon looks at anything else."""

MOST_AHEAD = 4
"""So many requests are prepared at the same time: most of that is waiting for git."""

TAKING_IN = "taking requests"
"""What `work` is called when it fails."""

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
        self._admitted: set[str] = set()  # tokens of what could not be unlinked afterwards
        self._begun: Done | None = None  # what a scan's hop has done already
        self.not_started: list[tuple[OpenTask, End]] = []  # to be settled
        self.pending: deque[Taken | OddEntry] = deque()

    def in_the_hop_of_a_scan(self) -> Callable[[Scan], None] | None:
        """What admits the first of what a scan brings, where nobody waits before them; `work` goes on from there."""
        trouble = self._engine.trouble
        if any(self._that_may()) or trouble.must_wait(ROLES) or trouble.must_wait(TAKING_IN):
            return None  # `work` is to come at once
        room = room_for_new(self._engine)

        def admit(found: Scan) -> None:
            with suppress(RoleError):  # `work` meets it again
                try:
                    first = found.brought[:MOST_PER_ROUND]
                    self._begun = admit_first(self._engine, self._drops, self._roles, first, {}, room)
                except OSError as error:
                    self._begun = Done(failure=error)

        return admit

    async def work(self) -> None:
        """Take some requests in. Raises OSError: then call again."""
        left = MOST_PER_ROUND
        while left > 0 and not self._engine.trouble.must_wait(ROLES):
            begun, self._begun = self._begun, None
            if begun is None:
                self._drop_given_back()
            try:
                if begun is not None:
                    left -= await self._hear(begun)
                elif (first := next(self._that_may(), None)) is not None:
                    left -= await self._take_in_some(first, left)
                else:
                    return
            except RoleError as error:
                # Whether the request is good cannot be known; it waits until the role file is mended.
                self._ahead.clear()
                self._engine.trouble.note(ROLES, error, kind=FaultKind.UNREADABLE, cure="mend that role file")
                return
            finally:
                self._drop_given_back()
            self._engine.trouble.heal(ROLES)

    def _drop_given_back(self) -> None:
        """What has its old name back is taken anew by a scan, under another token."""
        for token in self._drops.names.given_back():
            self._ahead.pop(token, None)
            for one in [one for one in self.pending if one.token == token]:
                self.pending.remove(one)

    def _that_may(self) -> Iterator[Taken | OddEntry]:
        """Those that wait, but for what could not be looked at a moment ago: nobody waits behind that."""
        return (one for one in self.pending if not self._engine.trouble.must_wait(_doing(one)))

    async def _take_in_some(self, first: Taken | OddEntry, most: int) -> int:
        """Admit what can be admitted at once, from the first one on; else take in the first one. How many these are.

        In the order in which they were dropped: of two with the same id the first one has it.
        """
        if first.token in self._admitted:
            await self._engine.write(self._drops.finish, first)
            self._done(first)
            return 1
        task = self._ahead.get(first.token)
        if (task is None or task.done()) and (admitted := await self._admit_first(most)):
            return admitted
        seen = None
        with self._engine.trouble.apart(_doing(first)):
            seen = await self._look_at(first)
        return await self._take_in(first, *seen, most) if seen is not None else 1

    def _done(self, taken: Taken | OddEntry) -> None:
        self.pending.remove(taken)
        self._ahead.pop(taken.token, None)
        self._admitted.discard(taken.token)

    async def _look_at(self, taken: Taken | OddEntry) -> tuple[Plan | Rejected, Use | None]:
        """What is to become of a request, and by what its id is used. Raises OSError and RoleError."""
        try:
            return await self._plan_of(taken)
        except Rejected as rejected:
            if not (isinstance(taken, Taken) and rejected.states_id):
                return rejected, None
            return rejected, await self._engine.write(use_of_id, self._engine.store, rejected.plan_id)

    async def _take_in(self, taken: Taken | OddEntry, found: Plan | Rejected, use: Use | None, most: int) -> int:
        if isinstance(found, Plan):
            if use is None:
                return await self._admit_first(most, (taken, found))
            same = use.content_sha256 == found.content_sha256
            plan_id, why = found.id, id_already_used(found.id, taken.name, sender=found.sender, same=same)
        else:
            plan_id, why = found.plan_id, found
        if use is None or not isinstance(taken, Taken) or not await self._is_again(taken, plan_id, use):
            await self._reject(taken, why)
        self._done(taken)
        return 1

    async def _plan_of(self, taken: Taken | OddEntry) -> tuple[Plan, Use | None]:
        """The plan of a request, and by what its id is used; those behind it are prepared meanwhile.

        Raises Rejected, OSError and RoleError.
        """
        engine = self._engine
        for one in islice(self._that_may(), MOST_AHEAD):
            if one.token not in self._ahead:
                self._ahead[one.token] = asyncio.create_task(engine.aside(self._prepare, one))
                self._ahead[one.token].add_done_callback(_note_failure)
        try:
            plan = await self._ahead[taken.token]
        except OSError:
            del self._ahead[taken.token]  # prepared anew at the next try
            raise
        use = await engine.write(use_of_id, engine.store, plan.id)
        if use is None or use.token == taken.token:
            return plan, use
        # Its id was used by a request before it, perhaps only since: an id made from the file's name makes way.
        plan = await engine.aside(self._prepare, taken)
        return plan, await engine.write(use_of_id, engine.store, plan.id)

    def _prepare(self, taken: Taken | OddEntry) -> Plan:
        """Off the loop. Raises Rejected and RoleError."""
        if isinstance(taken, OddEntry) or taken.data is None:
            raise unreadable(taken)
        return plan_from(self._engine, taken, taken.data, self._roles.catalogue())

    async def _admit_first(self, most: int, made: tuple[Taken | OddEntry, Plan] | None = None) -> int:
        """Admit the first requests together, as far as they are prepared or can be in no time; how many these were.

        `made`: the very first, with its plan. Raises OSError, and has admitted those that could be.
        """
        pending = list(islice(self._that_may(), most))
        if made is not None:  # by now one before it may be tried again: that is next
            pending = [made[0], *(one for one in pending if one is not made[0])]
        plans = {one.token: _plan_so_far(self._ahead[one.token]) for one in pending if one.token in self._ahead}
        plans |= dict.fromkeys(self._admitted)  # nothing is made of these again: they end the group
        if made is not None:
            plans[made[0].token] = made[1]
        engine, room = self._engine, room_for_new(self._engine)
        done = await engine.write(admit_first, engine, self._drops, self._roles, pending, plans, room)
        return await self._hear(done)

    async def _hear(self, done: Done) -> int:
        """Go by what one hop has brought. Raises OSError, when that is done."""
        for one in done.admitted:
            self._admitted.add(one.taken.token)
            await self._tell(one)
        if any(one.starts for one in done.admitted):
            await self._engine.write(finish_admitted, self._engine, self._drops, done)
        for one in done.admitted:
            if one.is_finished:
                self._done(one.taken)
        if done.failure is not None:
            raise done.failure
        return len(done.admitted)

    async def _tell(self, one: Admitted) -> None:
        engine, plan = self._engine, one.plan
        put_on_board(engine, plan, one.decisions)
        engine.say(f"admitted {plan.id}{one.count}")
        for start in one.starts.values():
            if (end := await start.carry_out()) is not None:
                self.not_started.append((engine.board.tasks[start.ref], end))
        for warning in plan.warnings:
            engine.say(Warn(f"{plan.id}: warning: {warning}"))

    async def _is_again(self, taken: Taken, plan_id: str, use: Use) -> bool:
        """Whether this very request was admitted before; then it is taken out, and answered again if it is finished."""
        engine = self._engine
        if taken.data is None or use.content_sha256 != content_sha256(taken.data):
            return False
        plan = use.plan
        if plan is None and use.token != taken.token:
            return False  # it is pruned, and its answer with it: who asks again is told so
        await engine.write(self._drops.names.make_durable)
        if plan is not None and plan.token == taken.token:
            decisions = await engine.aside(last_decisions, engine.store, plan)
            is_open = any(not is_final(decision.state) for decision in decisions.values())
            # Its admission was cut short just after its commit; one that could not be read may have runners by now.
            if is_open and plan_id not in engine.board.plans and plan_id not in engine.unread:
                put_on_board(engine, plan, decisions)
                running = [one for one in engine.board.open_tasks_of(plan_id) if one.state is TaskState.RUNNING]
                self.not_started += [(one, End(EndKind.NEVER_LAUNCHED)) for one in running]
        else:
            if plan is not None:
                if all(one.published is not None for one in engine.board.open_tasks_of(plan_id)):
                    await engine.write(publish_again, engine.store, plan)
                engine.note(plan_id, "dropped_again", taken.name)
            engine.say(f"{plan_id} was asked again; nothing runs twice")
        await engine.write(self._drops.finish, taken)
        return True

    async def _reject(self, taken: Taken | OddEntry, rejected: Rejected) -> None:
        engine = self._engine
        name = await engine.write(self._reject_on_disk, taken, rejected)
        engine.say(Warn(f"rejected {printable(taken.name)} (responses/{name}): {rejected.reason}"))

    def _reject_on_disk(self, taken: Taken | OddEntry, rejected: Rejected) -> str:
        self._drops.names.make_durable()
        return reject_request(self._engine.layout, taken, rejected)


def put_on_board(engine: Engine, plan: Plan, decisions: Mapping[str, Decision]) -> None:
    """A plan that was just admitted."""
    engine.board.add_plan(plan, {task: decision.state for task, decision in decisions.items()}, {})
    for task in plan.tasks:
        engine.board.add_task(plan, task, decisions[task.id])


def last_decisions(store: Store, plan: Plan) -> dict[str, Decision]:
    """Task id -> its last decision."""
    found = {task.id: store.last_decision(task.ref) for task in plan.tasks}
    return {task_id: decision for task_id, decision in found.items() if decision is not None}


def _doing(taken: Taken | OddEntry) -> str:
    return f"taking {printable(taken.name)} in"


def _plan_so_far(task: asyncio.Task[Plan]) -> Plan | None:
    """What a preparation has brought; None where it goes on, or has failed."""
    return task.result() if task.done() and not task.cancelled() and task.exception() is None else None


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
