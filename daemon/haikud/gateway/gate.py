"""The gate: which call goes to the API next, and when none does.

    gate = Gate(api, on_change, reachable=probe)
    async with gate.turn("PLAN.TASK.1", tokens, model) as turn:      # Held: answer the caller at once
        while True:
            ... send the request, read the status line ...
            verdict = gate.heard(status, headers, error_type, turn)  # or gate.unreachable(error, turn)
            if isinstance(verdict, PassOn):
                break
            await turn.again()                                       # Held: as above

Promises: attempts take turns, each has a line of its own, so that none waits for longer than a round; at most
api.max_calls calls are in flight. What one call hears of the account's limits holds for all: there is one pause, it
ends by itself, and then one call goes alone before the others follow, half as many at once as before where the pause
was for a limit (the width comes back with good answers). Calls in flight are never touched. A call waits for
api.quota_wait_seconds in all at most. The estimates of limits.View only delay. Who is cancelled while waiting leaves
nothing behind. While nothing waits and no pause is on, nothing wakes up.

One event loop; `on_change` is called on it when the pause begins, moves or ends.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta

from haikud.contracts.gateway import Pause, PauseKind
from haikud.contracts.settings import ApiSettings
from haikud.gateway.headers import read_retry_after, read_windows
from haikud.gateway.limits import (
    Need,
    Setback,
    View,
    backoff,
    judge,
    pause_words,
    probe_wait,
    unreachable_words,
)
from haikud.gateway.waiting import Clock, Held, LoopClock, PassOn, Probe, SendAgain, Stop, Timer, Turn, Waiter

UNANSWERED_SECONDS = 10.0
"""How long others wait for the answer to a call before them; what does not stream may take longer."""

WIDER = 0.25
"""By so many calls more may be unanswered at once, after each good answer."""

SLACK_SECONDS = 1.0
"""Ends of pauses that differ by less are the same; so much longer than it may a call wait, rather than be refused."""

BUSY_SECONDS = 5.0
"""`retry-after` where only calls in flight are in the way: nobody knows when one of them ends."""

CACHE_SECONDS = 300.0
"""How long the API keeps what it has read in its cache: until then an attempt's next call needs only what is new."""

_ANSWERS_KEPT = 256


class Gate:
    """See the module's head."""

    def __init__(
        self,
        api: ApiSettings,
        on_change: Callable[[], None],
        clock: Clock | None = None,
        reachable: Probe | None = None,
    ) -> None:
        self._api = api
        self._on_change = on_change
        self._clock = clock or LoopClock()
        self._reachable = reachable
        self._lines: OrderedDict[str, deque[Waiter]] = OrderedDict()  # by attempt; the first one is next
        self._in_flight: set[Turn] = set()
        self._sent = 0
        self._views: dict[str, View] = defaultdict(View)  # by model: each has limits of its own
        self._answered: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()  # attempt, model: tokens, when
        self._stop: Stop | None = None
        self._overloads = 0  # answers in a row
        self._failures = 0  # connections in a row
        self._probes = 0  # looks for the API since it last answered
        self._probing: asyncio.Task[None] | None = None
        self._unanswered: dict[Turn, float] = {}  # when they were sent; since the last pause
        self._is_proven = True  # since the last pause a call was answered well: until then one goes alone
        self._width = float(api.max_calls)  # so many calls may be unanswered at once
        self._timer: Timer | None = None

    @property
    def pause(self) -> Pause | None:
        """What everybody waits for. The reason does not name its end: `until` does."""
        stop = self._stop
        if stop is None:
            return None
        return Pause(until=stop.until_wall, reason=stop.detail, kind=stop.kind)

    @property
    def waiting(self) -> int:
        """How many calls are in line."""
        return sum(len(line) for line in self._lines.values())

    @property
    def in_flight(self) -> int:
        """How many calls have their turn."""
        return len(self._in_flight)

    def turn(self, attempt: str, tokens: int, model: str = "") -> Turn:
        """A call of that attempt with about so much input. Entering it raises Held where it would wait for too long."""
        return Turn(self, attempt, max(0, tokens), model)

    # -- what is heard

    def heard(
        self, status: int, headers: Mapping[str, str], error_type: str | None, turn: Turn, *, message: str = ""
    ) -> PassOn | SendAgain:
        """The API has answered a call with that status, and an error with that message."""
        now, wall = self._clock.now(), self._clock.wall()
        self._failures = self._probes = 0
        windows = read_windows(headers, now, wall)
        self._views[turn.model].hear(windows, turn.order)
        setback = judge(
            status,
            error_type,
            retry_after=read_retry_after(headers, wall),
            windows=windows,
            refused=turn.refused + 1,
            overloads=self._overloads,
            api=self._api,
            message=message,
        )
        self._overloads = self._overloads + 1 if setback is not None and setback.kind == "overloaded" else 0
        is_known = self._unanswered.pop(turn, None) is not None
        if setback is None:
            self._is_proven = self._is_proven or is_known
            self._width = min(float(self._api.max_calls), self._width + WIDER)
            if status < 400:
                self._remember(turn, now)
            self._go_on()
            return PassOn()
        turn.refused += 1
        return self._meet(setback, turn, now)

    def unreachable(self, error: BaseException | str, turn: Turn) -> PassOn | SendAgain:
        """No connection for a call came about."""
        now = self._clock.now()
        self._failures += 1
        self._unanswered.pop(turn, None)
        if self._failures < 2:
            setback = Setback("unreachable", backoff(1, self._api), for_all=False, again=True, detail="")
            return self._meet(setback, turn, now)
        if self._stop is None or self._stop.kind != "unreachable":
            seconds = probe_wait(self._probes)
            self._probes += 1
        else:
            seconds = max(0.0, self._stop.until - now)  # it is being looked for already
        setback = Setback("unreachable", seconds, for_all=True, again=True, detail=unreachable_words(error))
        return self._meet(setback, turn, now)

    def _meet(self, setback: Setback, turn: Turn, now: float) -> PassOn | SendAgain:
        turn.not_before = now + setback.seconds
        if setback.for_all:
            turn.not_before = 0.0
            self._pause_for(setback, now)
        else:
            self._go_on()
        seconds = max(setback.seconds, self._stop.until - now if self._stop else 0.0)
        fits = seconds <= self._patience(turn) + SLACK_SECONDS and not (self._stop and self._stop.kind == "billing")
        return SendAgain(seconds) if setback.again and fits else PassOn(seconds)

    def _remember(self, turn: Turn, now: float) -> None:
        key = (turn.attempt, turn.model)
        self._answered.pop(key, None)
        self._answered[key] = (turn.tokens, now)
        while len(self._answered) > _ANSWERS_KEPT:
            self._answered.popitem(last=False)

    def _need(self, turn: Turn, now: float) -> Need:
        tokens, when = self._answered.get((turn.attempt, turn.model), (0, 0.0))
        return Need(max(0, turn.tokens - (tokens if now - when < CACHE_SECONDS else 0)))

    # -- the pause

    def resume(self) -> None:
        """Somebody said to go on: forget the pause, and what was heard of the limits."""
        self._views.clear()
        self._width = float(self._api.max_calls)
        self._failures = self._overloads = self._probes = 0
        if self._stop is not None:
            self._end_pause()
        else:
            self._go_on()

    def close(self) -> None:
        """Stop the clock. Who waits must be cancelled by the caller."""
        if self._timer is not None:
            self._timer.cancel()
        self._call_off_probe()

    def _call_off_probe(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        self._probing = None

    def _pause_for(self, setback: Setback, now: float) -> None:
        until = now + setback.seconds
        if self._stop is not None and until <= self._stop.until + SLACK_SECONDS and setback.kind != "billing":
            self._go_on()
            return
        if self._stop is None and setback.kind in {"rate_limit", "overloaded"}:
            self._width = max(1.0, self._width / 2)
        self._set_stop(setback.kind, setback.detail, max(until, self._stop.until if self._stop else until), now)

    def _set_stop(self, kind: PauseKind, detail: str, until: float, now: float) -> None:
        self._call_off_probe()
        self._stop = Stop(kind, detail, until, self._clock.wall() + timedelta(seconds=until - now))
        self._go_on()
        self._on_change()

    def _end_pause(self) -> None:
        self._call_off_probe()
        self._stop, self._is_proven = None, False
        self._unanswered.clear()
        self._go_on()
        self._on_change()

    async def _look_for_api(self, stop: Stop) -> None:
        there = True
        if self._reachable is not None:
            there = False
            with suppress(Exception):  # whatever it raises: else the account would stay paused for ever
                async with asyncio.timeout(self._api.connect_seconds + SLACK_SECONDS):
                    there = await self._reachable()
        self._probing = None
        if there:
            self._end_pause()
            return
        now = self._clock.now()
        seconds = probe_wait(self._probes)
        self._probes += 1
        self._set_stop("unreachable", stop.detail, now + seconds, now)

    # -- the lines (called by turns)

    async def wait(self, turn: Turn, *, again: bool) -> None:
        """Come back when the call may be sent."""
        if again:
            self._in_flight.discard(turn)
        now = self._clock.now()
        told = asyncio.get_running_loop().create_future()
        waiter = Waiter(turn, now, now + self._patience(turn), told)
        line = self._lines.setdefault(turn.attempt, deque())
        if again:
            line.appendleft(waiter)
        else:
            line.append(waiter)
        self._go_on()
        try:
            held = await told
        except BaseException:
            self._leave(waiter)
            self.let_go(turn)
            raise
        finally:
            turn.waited_seconds += self._clock.now() - now
        if held is not None:
            raise held

    def let_go(self, turn: Turn) -> None:
        """The call is over."""
        self._in_flight.discard(turn)
        self._unanswered.pop(turn, None)
        self._go_on()

    def _leave(self, waiter: Waiter) -> None:
        line = self._lines.get(waiter.turn.attempt)
        if line is None or waiter not in line:
            return
        line.remove(waiter)
        if not line:
            del self._lines[waiter.turn.attempt]

    def _patience(self, turn: Turn) -> float:
        return max(0.0, self._api.quota_wait_seconds - turn.waited_seconds)

    def _go_on(self) -> None:
        """Do all that is due, and see to it that the clock calls for the rest."""
        now = self._clock.now()
        self._refuse(now)
        stop = self._stop
        times = list(self._admit(now)) if stop is None else [] if self._probing else [stop.until]
        if stop is None or stop.kind == "unreachable":
            times += [waiter.deadline for line in self._lines.values() for waiter in line]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(min(times), self._tick) if times else None

    def _tick(self) -> None:
        self._timer = None
        stop = self._stop
        if stop is not None and self._clock.now() >= stop.until and self._probing is None:
            if stop.kind != "unreachable":
                self._end_pause()
                return
            self._probing = asyncio.get_running_loop().create_task(self._look_for_api(stop))
        self._go_on()

    def _refuse(self, now: float) -> None:
        """Answer those who would wait for too long."""
        for waiter in [waiter for line in self._lines.values() for waiter in line]:
            if (held := self._refusal(waiter, now)) is not None:
                self._leave(waiter)
                if not waiter.told.done():
                    waiter.told.set_result(held)

    def _refusal(self, waiter: Waiter, now: float) -> Held | None:
        stop, overdue = self._stop, now >= waiter.deadline
        if stop is None:
            busy = overdue and self._is_full()
            words = f"{self._api.max_calls} calls are in flight (api.max_calls)"
            return Held("busy", words, BUSY_SECONDS) if busy else None
        # Nobody knows when an API that cannot be reached is back: until his time is over, each may hope.
        lasts = overdue if stop.kind == "unreachable" else stop.until > waiter.deadline + SLACK_SECONDS
        if not lasts and stop.kind != "billing":
            return None
        reason = pause_words(stop.kind, stop.detail, stop.until_wall, self._clock.wall())
        return Held(stop.kind, reason, max(SLACK_SECONDS, stop.until - now))

    def _is_full(self) -> bool:
        return len(self._in_flight) >= self._api.max_calls

    def _admit(self, now: float) -> Iterator[float]:
        """Give turns, one to each attempt a round; the times at which there may be more to give."""
        went = True
        while went:
            went, blocked, times = False, set[str](), list[float]()
            for attempt in list(self._lines):
                if self._is_full():
                    break
                waiter, later = self._next_of(attempt, now)
                times += later
                if waiter is None:
                    continue
                turn, overdue = waiter.turn, now >= waiter.deadline
                if not overdue:
                    waits = [sent for sent in self._unanswered.values() if sent + UNANSWERED_SECONDS > now]
                    if len(waits) >= (int(self._width) if self._is_proven else 1):
                        times.append(min(waits) + UNANSWERED_SECONDS)
                        continue
                    if turn.model in blocked:
                        continue  # who comes later does not overtake: a large call would starve
                    ready = self._views[turn.model].ready_at(self._need(turn, now), now)
                    if ready > now:
                        blocked.add(turn.model)
                        times.append(ready)
                        continue
                self._give(waiter, now)
                went = True
        yield from times

    def _next_of(self, attempt: str, now: float) -> tuple[Waiter | None, list[float]]:
        """The first in an attempt's line who may go, and when those before it may."""
        later: list[float] = []
        for waiter in self._lines[attempt]:
            if waiter.turn.not_before <= now or now >= waiter.deadline:
                return waiter, later
            later.append(waiter.turn.not_before)
        return None, later

    def _give(self, waiter: Waiter, now: float) -> None:
        turn = waiter.turn
        self._leave(waiter)
        if turn.attempt in self._lines:
            self._lines.move_to_end(turn.attempt)
        if waiter.told.done():
            return  # cancelled, and about to leave by itself
        self._sent += 1
        turn.order = self._sent
        self._in_flight.add(turn)
        self._views[turn.model].send(turn.order, self._need(turn, now), now)
        self._unanswered[turn] = now
        waiter.told.set_result(None)
