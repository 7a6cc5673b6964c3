"""Small parts of the gate: a call's turn, what it is told, and the clock that it waits by."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import PauseKind


class Timer(Protocol):
    """What can be called off."""

    def cancel(self) -> None:
        """Call it off."""


class Clock(Protocol):
    """Time, and being called at a time."""

    def now(self) -> float:
        """Monotonic seconds."""

    def wall(self) -> datetime:
        """The time of day, UTC."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at a monotonic time."""


class LoopClock:
    """The running event loop's clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        """The time of day, UTC."""
        return utc_now()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at a monotonic time."""
        return asyncio.get_running_loop().call_at(when, callback)


class Held(Exception):  # noqa: N818 - an answer, no error
    """The call is not made: it would wait for longer than a call may be held (api.quota_wait_seconds).

    `kind` is the pause's, or `busy` where the gate has as many calls in flight as it may.
    """

    def __init__(self, kind: PauseKind | Literal["busy"], reason: str, retry_after_seconds: float) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class PassOn:
    """Give the caller this answer; where it is a limit's, after so many seconds the call may be made again."""

    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class SendAgain:
    """Give the caller nothing yet: `await turn.again()`, which takes about so many seconds, then send it again."""

    seconds: float


class Keeper(Protocol):
    """What a turn needs of its gate."""

    async def wait(self, turn: Turn, *, again: bool) -> None:
        """Come back when the call may be sent."""

    def let_go(self, turn: Turn) -> None:
        """The call is over."""


@dataclass(eq=False)
class Turn:
    """One call, from its waiting to its end: `async with gate.turn(...) as turn`."""

    keeper: Keeper = field(repr=False)
    attempt: str
    tokens: int
    model: str = ""
    waited_seconds: float = 0.0  # in all, in line
    refused: int = 0  # how often the account's limits have refused it
    order: int = 0  # its number among all calls that were sent, when it was last sent
    not_before: float = 0.0  # monotonic seconds

    async def again(self) -> None:
        """After SendAgain: wait until the call may be sent once more. Raises Held as entering does."""
        await self.keeper.wait(self, again=True)

    async def __aenter__(self) -> Self:
        await self.keeper.wait(self, again=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keeper.let_go(self)


@dataclass(eq=False)
class Waiter:
    """A turn in line."""

    turn: Turn
    since: float
    deadline: float
    told: asyncio.Future[Held | None]


@dataclass(frozen=True)
class Stop:
    """The pause that is on. `until` is monotonic, for waiting; `until_wall` for people."""

    kind: PauseKind
    detail: str
    until: float
    until_wall: datetime


Probe = Callable[[], Awaitable[bool]]
"""Whether the API can be reached; whatever it raises means that it cannot."""
