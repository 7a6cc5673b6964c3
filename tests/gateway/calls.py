"""Calls that are made through a gate, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.hand_clock import HandClock, settle

from haikud.contracts.settings import ApiSettings
from haikud.gateway.gate import Gate
from haikud.gateway.waiting import Held, PassOn, SendAgain, Turn


@dataclass(eq=False)
class MadeCall:
    """A call: `answer` is what its API says next."""

    gate: Gate
    turn: Turn
    task: asyncio.Task[None] | None = None
    sent_at: list[float] = field(default_factory=list)
    held: Held | None = None
    verdicts: list[PassOn | SendAgain] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    cue: asyncio.Queue[tuple[int | None, dict[str, str], str | None]] = field(default_factory=asyncio.Queue)

    @property
    def is_sent(self) -> bool:
        return bool(self.sent_at) and self.held is None

    @property
    def is_under_way(self) -> bool:
        return self.turn in self.gate._in_flight

    async def run(self, clock: HandClock) -> None:
        try:
            async with self.turn:
                while True:
                    self.sent_at.append(clock.now())
                    status, headers, error_type = await self.cue.get()
                    if status is None:
                        verdict = self.gate.unreachable(ConnectionRefusedError(111, "Connection refused"), self.turn)
                    else:
                        verdict = self.gate.heard(status, headers, error_type, self.turn)
                    self.verdicts.append(verdict)
                    if isinstance(verdict, PassOn):
                        break
                    await self.turn.again()
                await self.over.wait()
        except Held as held:
            self.held = held

    async def answer(
        self, status: int | None = 200, error_type: str | None = None, *, end: bool = True, **headers: str
    ) -> None:
        """The status line comes (None: no connection comes about), and where asked the rest of a good one too."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if end:
            self.over.set()
        self.cue.put_nowait((status, names, error_type))
        await settle()

    async def hang_up(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await settle()


@dataclass(eq=False)
class World:
    """A gate whose clock goes by hand."""

    api: ApiSettings
    clock: HandClock = field(default_factory=HandClock)
    changes: int = 0
    there: bool = True  # whether the API can be reached
    refused: Exception = field(default_factory=lambda: ConnectionRefusedError(111, "Connection refused"))
    probed_at: list[float] = field(default_factory=list)
    calls: list[MadeCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = Gate(self.api, self._count, self.clock, self._probe)

    def _count(self) -> None:
        self.changes += 1

    async def _probe(self) -> bool:
        self.probed_at.append(self.clock.now() - 1000.0)
        if not self.there:
            raise self.refused
        return True

    async def call(self, attempt: str = "plan.one.1", tokens: int = 100, model: str = "haiku") -> MadeCall:
        """Make one; it is sent at once or waits."""
        made = MadeCall(self.gate, self.gate.turn(attempt, tokens, model))
        made.task = asyncio.get_running_loop().create_task(made.run(self.clock))
        self.calls.append(made)
        await settle()
        return made

    async def close(self) -> None:
        for made in self.calls:
            assert made.task is not None
            made.task.cancel()
        await asyncio.gather(*(made.task for made in self.calls if made.task), return_exceptions=True)
        self.gate.close()


MakeWorld = Callable[..., World]
