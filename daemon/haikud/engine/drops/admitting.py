"""Admitting the first of the waiting requests together: one hop to the writing thread, one batch, two rounds of fsyncs.

The first ones, as far as it goes: each must have a plan already, or be small and need no process of git's (what git has
said a moment ago is known), so that its plan is made here in a millisecond. The first for which that is not so ends the
group; it is taken in by itself. The batch also makes the taken names durable, then the taken files are unlinked.

A plan whose first tasks may run at once is admitted with their orders: the folder that gets its name at the commit
holds the decision to run them and all that these attempts need (attempts/start.py).

Where the batch fails, each is tried by itself: one that cannot be admitted keeps nobody out. Fails with OSError where
none can be, and with RoleError.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.ledger import LedgerEntry
from haikud.contracts.plan import Plan
from haikud.contracts.tombstone import Tombstone
from haikud.engine.admission.prepare import first_decisions, prepare_plan
from haikud.engine.admission.rejection import Rejected
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.start import Start
from haikud.engine.attempts.starting import Room, start_new
from haikud.engine.engine import Engine, told_of
from haikud.engine.machine.faults import FOR_ALL, kind_of
from haikud.roles.files import RoleFile
from haikud.spool.batch import Batch
from haikud.spool.drops import DropFolder
from haikud.spool.ledger import append_entry
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.publish import retract_rejection
from haikud.spool.store import Admission, Store
from haikud.spool.taken import OddEntry, Taken
from haikud.workspace.git import AsksGit, no_git

SMALL_BYTES = 16 * 1024
"""A JSON request up to here is parsed and checked where the others are written; YAML takes a hundred times as long."""


@dataclass
class Admitted:
    """A plan that is there now."""

    taken: Taken
    plan: Plan
    decisions: dict[str, Decision]
    starts: dict[str, Start] = field(default_factory=dict)  # task id -> its first attempt, ordered together with that
    is_finished: bool = False  # its taken file is gone

    @property
    def count(self) -> str:
        """How many tasks it has, where it has several."""
        return f" ({len(self.plan.tasks)} tasks)" if len(self.plan.tasks) > 1 else ""


@dataclass
class Done:
    """What one hop has brought."""

    admitted: list[Admitted] = field(default_factory=list)
    failure: OSError | None = None  # of one of the others, which go on waiting


def admit_first(
    engine: Engine,
    drops: DropFolder,
    roles: RoleLookup,
    pending: Sequence[Taken | OddEntry],
    plans: Mapping[str, Plan | None],
    room: Room | None = None,
) -> Done:
    """Admit as many of `pending` as can be, from the first one on. `plans`: by token; None while it is prepared.

    `room`: for tasks that may be ordered to run together with that; the loop is to carry those out.
    """
    group = _group(engine, roles, pending, plans)
    if not group:
        return Done()
    if room is not None:
        _order_first(engine, roles, group, room)
    try:
        _commit(engine, drops, group)
    except OSError:
        if len(group) == 1 or drops.names.have_gone_back:
            raise
        done = _one_by_one(engine, drops, group)
    else:
        done = Done(group)
    if not any(one.starts for one in done.admitted):
        finish_admitted(engine, drops, done)
    return done


def finish_admitted(engine: Engine, drops: DropFolder, done: Done) -> None:
    """What is left to do for plans that are there: their ledgers begin, and their taken files are unlinked.

    Where any of them starts at once this is done after that: the runner loads meanwhile.
    """
    for one in done.admitted:
        try:
            _finish(engine, drops, one)
        except OSError as error:  # it is unlinked at the next try
            done.failure = done.failure or error


def plan_from(
    engine: Engine,
    taken: Taken,
    data: bytes,
    catalogue: Mapping[str, RoleFile],
    used: Container[str] = (),
) -> Plan:
    """The plan that a request asks for. `used`: ids that are not in the store yet. Raises as `prepare_plan` does."""

    def is_taken(plan_id: str) -> bool:
        if plan_id in used:
            return True
        use = use_of_id(engine.store, plan_id)  # not by its own plan, where a cut came just after the commit
        return use is not None and use.token != taken.token

    return prepare_plan(
        data,
        taken.name,
        taken.token,
        settings=engine.settings,
        spool_root=engine.layout.root,
        now=utc_now(),
        catalogue=catalogue,
        is_taken=is_taken,
    )


def _group(
    engine: Engine, roles: RoleLookup, pending: Sequence[Taken | OddEntry], plans: Mapping[str, Plan | None]
) -> list[Admitted]:
    found: dict[str, Admitted] = {}
    catalogue: Mapping[str, RoleFile] | None = None
    for taken in pending:
        if isinstance(taken, OddEntry):
            break
        if taken.token in plans:
            plan = plans[taken.token]
        elif taken.data is None or len(taken.data) > SMALL_BYTES or not taken.name.endswith(".json"):
            break
        else:
            if catalogue is None:
                catalogue = roles.catalogue()
            try:
                with no_git():
                    plan = plan_from(engine, taken, taken.data, catalogue, found)
            except (AsksGit, Rejected, OSError):
                break
        if plan is None or plan.id in found or not _is_free(engine.store, plan.id):
            break
        found[plan.id] = Admitted(taken, plan, first_decisions(plan, plan.admitted_at))
    return list(found.values())


def _is_free(store: Store, plan_id: str) -> bool:
    """Whether nothing uses an id. Where that cannot be seen it is not: who is taken in by himself fails by himself."""
    try:
        return use_of_id(store, plan_id) is None
    except OSError:
        return False


def _order_first(engine: Engine, roles: RoleLookup, group: Sequence[Admitted], room: Room) -> None:
    """Give to those that may start at once their orders."""
    by_plan = {one.plan.id: one for one in group}
    for start in start_new(engine, roles, [(one.plan, one.decisions) for one in group], room):
        by_plan[start.plan.id].starts[start.preparation.task.id] = start


def _commit(engine: Engine, drops: DropFolder, group: Sequence[Admitted]) -> None:
    batch = Batch()
    if drops.names.are_owed:
        batch.sync_folder(drops.path, undo=drops.names.give_back)
    admissions = [Admission(one.plan, one.taken.data or b"", one.decisions, one.starts) for one in group]
    engine.store.admit_together(admissions, batch)
    drops.names.are_durable()


def _one_by_one(engine: Engine, drops: DropFolder, group: Sequence[Admitted]) -> Done:
    drops.names.make_durable()
    done = Done()
    for one in group:
        one.starts.clear()  # what was the matter is not known: they start in their turn
        try:
            _commit(engine, drops, [one])
        except OSError as error:
            if kind_of(error) in FOR_ALL:
                done.failure = error
                break
            done.failure = done.failure or error
        else:
            done.admitted.append(one)
    return done


def _finish(engine: Engine, drops: DropFolder, one: Admitted) -> None:
    plan = one.plan
    with engine.trouble.guard("taking back a rejection", once=True):
        retract_rejection(engine.layout, plan.id)
    with engine.trouble.guard("writing a ledger", once=True):
        message, detail = f"{one.taken.name}{one.count}", {"warnings": plan.warnings}
        entry = LedgerEntry(at=utc_now(), event="admitted", message=message, detail=detail)
        append_entry(engine.layout.plan(plan.id), entry, *(told_of(start.decision) for start in one.starts.values()))
    drops.finish(one.taken)
    one.is_finished = True


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
