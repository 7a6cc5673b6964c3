"""The books: what was spent and what is reserved, of every task, plan and day; and what each attempt's calls cost.

Promises: a reservation is made only where it crosses none of its three budgets, all other reservations counted as
spent, so that budgets hold however many calls are made at once. It is in the journal, durable, before the call is
made; its end is there before the caller sees the answer's. So a gateway that is killed at any moment has forgotten
nothing: the next one counts what has no end as the most that it can cost (`lost`). One process at a time keeps the
books, the one that holds gateway.lock, on one event loop.

Fails with OSError where the journal cannot be written: a call that cannot be reserved is not made; an end that cannot
be written is written with the next line, and counts as reserved until then.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptToken, Purse
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.contracts.usage_journal import CallStep, JournalLine
from haikud.spool.layout import GatewayPaths
from haikud.spool.models import iter_lines
from haikud.spool.usage_journal import Charge, JournalWriter, fold

_DUST = 1e-12
"""US dollars: what adding floats may be off by."""


@dataclass(eq=False)
class Call:
    """A call that has been reserved and has not ended."""

    token: AttemptToken
    most: UsageEntry
    day: date
    name: str = field(default_factory=lambda: secrets.token_hex(12))


@dataclass
class Account:
    """What the calls of one attempt that have ended cost."""

    entries: list[UsageEntry] = field(default_factory=list)
    total: UsageTotal = field(default_factory=UsageTotal)
    by_model: dict[str, UsageTotal] = field(default_factory=dict)
    estimated_usd: float = 0.0

    def add(self, entry: UsageEntry) -> None:
        """Count one more."""
        self.entries.append(entry)
        self.total = self.total.plus_entry(entry)
        self.by_model[entry.model] = self.by_model.get(entry.model, UsageTotal()).plus_entry(entry)
        self.estimated_usd += entry.cost_usd if entry.estimated else 0.0


@dataclass(frozen=True)
class Room:
    """What a call may still cost: in the tightest purse, with and without what other calls have reserved."""

    usd: float
    purse: Purse
    usd_when_others_end: float  # were those under way to cost nothing
    purse_when_others_end: Purse


class Books:
    """See the module's head. Call `open` first."""

    def __init__(self, paths: GatewayPaths) -> None:
        self._paths = paths
        self._writer = JournalWriter(paths)
        self._spent: dict[tuple[Purse, str], float] = defaultdict(float)
        self._reserved: dict[tuple[Purse, str], float] = defaultdict(float)
        self._accounts: dict[tuple[str, int], Account] = {}
        self._calls: dict[str, Call] = {}
        self._known_since = date.max  # all days from here on are in the sums
        self._began = utc_now()
        self._owed: deque[tuple[JournalLine, date]] = deque()  # ends that could not be written yet
        self._ended = asyncio.Event()  # of those who wait for the end of some call
        self._last_sync: asyncio.Future[None] | None = None
        self._next_sync: asyncio.Future[None] | None = None

    # -- reading what earlier gateways wrote

    def open(self, now: datetime) -> int:
        """Take up today's and yesterday's journal; how many calls a gateway before this one has lost."""
        return self.know_since(now.date() - timedelta(days=1))

    def know_since(self, since: date) -> int:
        """Let the sums hold all calls from that day on; how many of the newly read were lost."""
        tomorrow = utc_now().date() + timedelta(days=1)
        lost, day, end = 0, min(since, tomorrow), min(self._known_since, tomorrow)
        while day < end:
            lost += self._take_up(day)
            day += timedelta(days=1)
        self._known_since = min(self._known_since, since)
        return lost

    def _take_up(self, day: date) -> int:
        lost = 0
        for charge in list(fold(iter_lines(self._paths.journal(day), JournalLine))):
            if charge.is_open:
                lost += 1
                self._writer.append(_after(charge, CallStep.LOST), day)
            self._count(charge.line, charge.entry, day)
        return lost

    def _count(self, line: JournalLine, entry: UsageEntry, day: date) -> None:
        for key in _keys(line.ref, line.plan, day):
            self._spent[key] += entry.cost_usd

    def account(self, token: AttemptToken) -> Account:
        """An attempt's account, read from the journal where a gateway before this one may have kept it."""
        name = (token.ref, token.attempt)
        if name not in self._accounts:
            account = Account()
            if token.issued_at < self._began:
                for charge in self.charges_of(token.ref, token.attempt, token.issued_at):
                    account.add(charge.entry)
            self._accounts[name] = account
        return self._accounts[name]

    def charges_of(self, ref: str, attempt: int, since: datetime) -> list[Charge]:
        """What the journal says of an attempt's calls. Not those under way: they are not over, and in no account."""
        mark = json.dumps(ref).encode()
        found, day = [], min(since.date(), utc_now().date())
        while day <= utc_now().date():
            for charge in fold(iter_lines(self._paths.journal(day), JournalLine, only=mark)):
                its = (charge.line.ref, charge.line.attempt) == (ref, attempt)
                found += [charge] if its and charge.line.call not in self._calls else []
            day += timedelta(days=1)
        return found

    # -- money

    def spent_on(self, day: date) -> float:
        """US dollars of the calls that began on that day and have ended."""
        return self._spent.get((Purse.DAY, day.isoformat()), 0.0)

    def in_flight(self, token: AttemptToken) -> int:
        """How many calls of that attempt are under way."""
        name = (token.ref, token.attempt)
        return sum((call.token.ref, call.token.attempt) == name for call in self._calls.values())

    def room(self, token: AttemptToken, day: date) -> Room:
        """What the next call of an attempt may cost."""
        if token.plan_since.date() < self._known_since:
            self.know_since(token.plan_since.date())
        limits = {Purse.TASK: token.task_usd, Purse.PLAN: token.plan_usd, Purse.DAY: token.day_usd}
        told = {Purse.TASK: token.task_spent_usd, Purse.PLAN: token.plan_spent_usd, Purse.DAY: 0.0}
        rooms = []
        for key in _keys(token.ref, token.plan, day):
            purse = key[0]
            left = limits[purse] - max(self._spent.get(key, 0.0), told[purse])
            rooms.append(Room(left - self._reserved.get(key, 0.0), purse, left, purse))
        now, later = min(rooms, key=lambda room: room.usd), min(rooms, key=lambda room: room.usd_when_others_end)
        return Room(now.usd, now.purse, later.usd_when_others_end, later.purse)

    async def reserve(self, token: AttemptToken, most: UsageEntry) -> Call | None:
        """Reserve the most that a call can cost, durably; None where there is no room for that now.

        Raises OSError: then nothing is reserved.
        """
        self.account(token)  # before there is a call of it that the journal holds as under way
        day = most.at.date()
        if most.cost_usd > self.room(token, day).usd + _DUST:
            return None
        call = Call(token, most, day)
        self._hold(call, most.cost_usd)
        try:
            self._write_owed()
            self._writer.append(_line(call, CallStep.RESERVED, most), day)
            await self._sync()
        except BaseException:
            self._end(call, CallStep.RELEASED, None)
            raise
        return call

    def use(self, call: Call, entry: UsageEntry) -> None:
        """The call has ended and cost that."""
        self._end(call, CallStep.USED, entry)

    def release(self, call: Call) -> None:
        """The call has ended and cost nothing."""
        self._end(call, CallStep.RELEASED, None)

    async def changed(self, seconds: float) -> None:
        """Wait until some call has ended, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def forget(self, ref: str, attempt: int) -> None:
        """Let go of the account of an attempt that is over; the journal keeps it."""
        self._accounts.pop((ref, attempt), None)

    def close(self) -> None:
        """Write what can be written, and let go of the files."""
        self._write_owed(quietly=True)
        self._writer.close()

    def _hold(self, call: Call, usd: float) -> None:
        self._calls[call.name] = call
        for key in _keys(call.token.ref, call.token.plan, call.day):
            self._reserved[key] += usd

    def _end(self, call: Call, step: CallStep, entry: UsageEntry | None) -> None:
        if call.name not in self._calls:
            return
        account = self.account(call.token)
        del self._calls[call.name]
        for key in _keys(call.token.ref, call.token.plan, call.day):
            self._reserved[key] -= call.most.cost_usd
            if self._reserved[key] < _DUST:
                del self._reserved[key]
            self._spent[key] += entry.cost_usd if entry else 0.0
        if entry is not None:
            account.add(entry)
        self._owed.append((_line(call, step, entry), call.day))
        self._write_owed(quietly=True)
        self._ended.set()
        self._ended = asyncio.Event()

    def _write_owed(self, *, quietly: bool = False) -> None:
        while self._owed:
            line, day = self._owed[0]
            try:
                self._writer.append(line, day)
            except OSError:
                if quietly:
                    return
                raise
            self._owed.popleft()

    async def _sync(self) -> None:
        """Be part of the next write to disk: one fdatasync serves all that came while another was under way."""
        if len(self._calls) == 1 and self._next_sync is None and (self._last_sync is None or self._last_sync.done()):
            self._writer.sync()  # no other call is kept waiting by it, and a thread would cost as much again
            return
        if self._next_sync is None:
            self._next_sync = asyncio.ensure_future(self._sync_after(self._last_sync))
        await asyncio.shield(self._next_sync)

    async def _sync_after(self, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._last_sync, self._next_sync = self._next_sync, None  # what is appended from here on needs another
        self._writer.close_before(min((call.day for call in self._calls.values()), default=utc_now().date()))
        await asyncio.get_running_loop().run_in_executor(None, self._writer.sync)


def _keys(ref: str, plan: str, day: date) -> list[tuple[Purse, str]]:
    return [(Purse.TASK, ref), (Purse.PLAN, plan), (Purse.DAY, day.isoformat())]


def _line(call: Call, step: CallStep, entry: UsageEntry | None) -> JournalLine:
    token = call.token
    return JournalLine(
        step=step,
        call=call.name,
        at=utc_now(),
        ref=token.ref,
        plan=token.plan,
        task=token.task,
        attempt=token.attempt,
        role=token.role,
        entry=entry,
    )


def _after(charge: Charge, step: CallStep) -> JournalLine:
    return charge.line.model_copy(update={"step": step, "at": utc_now()})
