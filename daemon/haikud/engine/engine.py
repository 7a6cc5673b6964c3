"""What all parts of the daemon share: the spool, the board, the launcher, and the one way to decide about a task.

Everything that must last is written by one thread, in order; git, process trees and other slow reading go to other
threads (threads.py). Only the daemon's loop calls in here, one step after the other, so that a step never meets a
half-done other one. Memory changes after the disk: a step that fails with an OSError may be repeated as if it had never
begun.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from haikud.contracts.base import JsonObject, utc_now
from haikud.contracts.decision import Decision, QueueState
from haikud.contracts.ledger import LedgerEntry
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState, check_move, is_final
from haikud.contracts.usage import UsageTotal
from haikud.engine.board import Board, OpenTask
from haikud.engine.day_spend import DaySpend
from haikud.engine.gateway.gateway import Gateway
from haikud.engine.launchers.protocol import Launcher
from haikud.engine.machine.faults import NoThread, new_thread
from haikud.engine.machine.trouble import Trouble
from haikud.engine.role_history import RoleHistory
from haikud.engine.secrets import Secrets
from haikud.engine.supervisor import Supervisor
from haikud.engine.threads import Threads
from haikud.engine.timers import Timers
from haikud.sandbox.newcomers import Newcomers
from haikud.spool.batch import Batch
from haikud.spool.layout import SpoolLayout
from haikud.spool.ledger import append_entry
from haikud.spool.log_lines import Dress
from haikud.spool.store import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Stopping:
    """How the daemon is to end, if it is."""

    draining: bool = False  # starts nothing; ends when the last attempt has
    now: bool = False  # ends the attempts
    detached: asyncio.Event = field(default_factory=asyncio.Event)  # ends at once and leaves the attempts alone


@dataclass
class Engine:
    """See the module's head."""

    layout: SpoolLayout
    settings: Settings
    secrets: Secrets
    spool_id: str
    say: Callable[[str], None]
    store: Store
    launcher: Launcher
    trouble: Trouble
    queue: QueueState
    day: DaySpend
    clock: Callable[[], float]  # monotonic seconds
    wake: asyncio.Event
    holds_spool: Callable[[], bool]  # whether the daemon's lock is still the spool's
    role_history: RoleHistory
    board: Board = field(default_factory=Board)
    stopping: Stopping = field(default_factory=Stopping)
    queue_since: datetime = field(default_factory=utc_now)  # when `queue` was written
    unread: set[str] = field(default_factory=set)  # plans that could not be read at the start
    supervisor: Supervisor = field(default_factory=Supervisor)
    on_end: Callable[[], None] | None = None  # told at once that the launcher has ends, while rounds are done
    newcomers: Newcomers = field(default_factory=Newcomers)
    dress: Dress = Dress.PEOPLE  # how the gateway's lines of the log look
    reload_wanted: bool = False  # settings and roles are to be reread
    day_may_have_room: bool = True  # look once whether tasks that were put off to tomorrow may go on today
    settings_fault: str | None = None  # why the last reload changed nothing
    sandbox: str | None = None  # the mode that attempts run in; None: not found yet, or none that may be used works
    sandbox_is_known: bool = False  # it was tried
    host: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))  # our environment, as it was at the start

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock)
        self.gateway = Gateway(self.layout, self.settings, self.secrets, self.trouble, self.wake, self.say, self.dress)
        self.gateway.on_day = lambda usd: self.day.hear(usd, utc_now())
        self._threads = Threads()
        self._told: list[tuple[str, LedgerEntry]] = []  # and not with the writing thread yet
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="haikud-writer")
        with new_thread():
            self._writer.submit(int)  # its thread is there from now on, whatever the machine refuses later

    # -- threads

    async def write(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that writes what must last, on the one writing thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, partial(action, *args, **kwargs))

    async def aside(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something slow that writes nothing that must last, in a thread that no exit waits for.

        NoThread (an OSError) where the machine refuses the thread.
        """
        return await self._threads.run(partial(action, *args, **kwargs))

    async def aside_or_here(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread of its own; in the loop's where the machine refuses that: a fault must show."""
        try:
            return await self.aside(action, *args, **kwargs)
        except NoThread:
            return action(*args, **kwargs)

    def close(self) -> None:
        """Finish the writes in hand."""
        self._append_told()
        self._writer.shutdown(wait=True)

    # -- decisions

    async def decide(
        self,
        entry: OpenTask,
        state: TaskState,
        reason: str,
        *,
        also: Callable[[Batch], None] | None = None,
        **changes: Any,
    ) -> Decision:
        """Decide about a task: durable first, then on the board and in the ledger.

        `also` puts what is to become durable with the decision into its batch, on the writing thread. `changes` are
        fields of the decision. What is not named stays as in the last decision, but for what belongs to one decision
        only: outcome, retry_at, token and resume_to. The link of a final task stays for publication to move.
        """
        decision = next_decision(entry.decision, state, reason, utc_now(), **changes)
        await self.write(self.write_decision, entry, decision, also)
        self.board.move(entry, decision)
        return decision

    def write_decision(self, entry: OpenTask, decision: Decision, also: Callable[[Batch], None] | None = None) -> None:
        """On the writing thread: a decision and what belongs to it, durable together; its link, its line in the ledger.

        The board is the caller's to change afterwards.
        """
        batch = Batch()
        try:
            self.store.keep_decision(entry.decision, entry.plan)  # our word holds, whoever deleted it
            if also is not None:
                also(batch)
            self.store.add_decision(batch, entry.decision, decision)
            batch.commit()
        finally:
            batch.discard()
        if not is_final(decision.state):
            self.store.move_link(decision.ref, decision.state, known=entry.decision.state)
        self.append(entry.plan.id, [told_of(decision)])

    # -- history for people

    def note(
        self,
        plan_id: str,
        event: str,
        message: str = "",
        *,
        ref: str | None = None,
        state: str | None = None,
        attempt: int | None = None,
        outcome: str | None = None,
        usage: UsageTotal | None = None,
        detail: JsonObject | None = None,
    ) -> None:
        """A line in the plan's ledger, written by and by. Nothing depends on it, so that it can only fail quietly."""
        entry = LedgerEntry(
            at=utc_now(),
            event=event,
            message=message,
            ref=ref,
            state=state,
            attempt=attempt,
            outcome=outcome,
            usage=usage,
            detail=detail or {},
        )
        self.tell(plan_id, entry)

    def tell(self, plan_id: str, entry: LedgerEntry) -> None:
        """As `note`. What is told before the loop goes on to something else is written together."""
        self._told.append((plan_id, entry))
        if len(self._told) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._append_told)
            except RuntimeError:  # no loop runs any more
                self._append_told()

    def _append_told(self) -> None:
        by_plan: dict[str, list[LedgerEntry]] = {}
        for plan_id, entry in self._told:
            by_plan.setdefault(plan_id, []).append(entry)
        self._told.clear()
        for plan_id, entries in by_plan.items():
            self._writer.submit(self.append, plan_id, entries)

    def append(self, plan_id: str, entries: list[LedgerEntry]) -> None:
        """On the writing thread: lines in the plan's ledger. Fails quietly."""
        with self.trouble.guard("writing a ledger", once=True):
            append_entry(self.layout.plan(plan_id), *entries)

    # -- what is so

    def may_start(self) -> bool:
        """Whether new attempts may start at all."""
        stopping = self.stopping
        if stopping.draining or stopping.now or stopping.detached.is_set() or self.trouble.holds_work:
            return False
        if self.sandbox is None:
            return False
        return not self.queue.paused or self.pause_seconds_left() == 0

    def pause_seconds_left(self) -> float | None:
        """How long the queue's pause still lasts; None where it has no end by itself, or there is none."""
        until = self.queue.until
        if not self.queue.paused or until is None:
            return None
        return self.timers.seconds_left(("queue", until), until, self.queue_since)

    def deferred_seconds_left(self, entry: OpenTask) -> float:
        """How long a deferred task still waits."""
        decision = entry.decision
        if decision.retry_at is None:
            return 0.0
        return self.timers.seconds_left((entry.ref, decision.number), decision.retry_at, decision.at)


def told_of(decision: Decision) -> LedgerEntry:
    """A decision's line in the ledger."""
    return LedgerEntry(
        at=decision.at,
        event="decided",
        message=decision.reason,
        ref=decision.ref,
        state=str(decision.state),
        attempt=decision.attempt,
        outcome=str(decision.outcome) if decision.outcome else None,
    )


def next_decision(last: Decision, state: TaskState, reason: str, now: datetime, **changes: Any) -> Decision:
    """The decision that follows `last`. ValueError where the move is not allowed: our bug."""
    check_move(last.state, state)
    fields: dict[str, Any] = {
        "attempt": last.attempt,
        "failures": last.failures,
        "orphans": last.orphans,
        "restarts": last.restarts,
        "escalation": last.escalation,
        "guidance": last.guidance,
        "fresh": last.fresh,
        "role": last.role,
        "model": last.model,
    }
    return Decision(number=last.number + 1, at=now, ref=last.ref, state=state, reason=reason, **(fields | changes))
