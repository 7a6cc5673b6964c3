"""The gateway as the daemon sees it: started when the first call is near, watched, taken over, replaced, ended.

The listening sockets are made once and kept for the daemon's life. Whatever becomes of a gateway's process, another
takes its place on the same sockets: at once, and where that does not help after growing waits, with a fault that people
see. One that an earlier daemon has started is taken over with its sockets where it has the same version and order, and
is else ended, when its calls under way have, and replaced. A daemon that detaches leaves it to the agents that need it.

Nothing here waits for the gateway but `account_of`, and that not for long: the journal says the same. Fails with
OSError: what needed it is tried again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import haikud
from haikud.contracts.gateway import AttemptAccount, GatewayOrder, GatewayPlace, LinkKind, LinkMessage, Pause
from haikud.contracts.live import FaultKind, GatewayState
from haikud.contracts.settings import Settings
from haikud.engine.gateway.link import Link, LinkLost, open_link
from haikud.engine.gateway.process import Process, find_process, start_process
from haikud.engine.gateway.sockets import Sockets, adopt_sockets, listen_again, make_sockets
from haikud.engine.log_levels import Warn
from haikud.engine.machine.faults import describe
from haikud.engine.machine.trouble import Trouble
from haikud.engine.secrets import Secrets
from haikud.spool.layout import SpoolLayout
from haikud.spool.log_lines import Dress

API = "https://api.anthropic.com"

KEEPING_UP = "keeping the gateway up"

WAITS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before a gateway that has died is started again: the first, the second, ... time in a row."""

STEADY_SECONDS = 30.0
"""One that has lived for so long has not died in a row with others."""

HELLO_SECONDS = 5.0
"""How long one that listens may take to say who it is."""

DUMB_SECONDS = 30.0
"""One that has said nothing for so long is killed."""

LEAVE_SECONDS = 70.0
"""How long one that was asked to end may finish its calls: a little longer than it is to take."""

ANSWER_SECONDS = 10.0
"""How long an attempt's account is waited for, before the journal is read instead."""


class GatewayNotReady(OSError):  # noqa: N818 - reads as what it is
    """An earlier daemon's gateway is there, and has not handed over its sockets yet."""


class Gateway:
    """See the module's head. All methods belong to the event loop's thread."""

    def __init__(
        self,
        layout: SpoolLayout,
        settings: Settings,
        secrets: Secrets,
        trouble: Trouble,
        wake: asyncio.Event,
        say: Callable[[str], None],
        dress: Dress = Dress.PEOPLE,
    ) -> None:
        self._layout = layout
        self._order = _order(settings, secrets)
        self._trouble = trouble
        self._wake = wake
        self._say = say
        self._dress = dress
        self._sockets: Sockets | None = None
        self._process: Process | None = None
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_right = True  # whether the one that runs has our version and order
        self._is_deaf = False  # whether the one that runs listens where nobody can find it
        self._deaths = 0  # in a row
        self._leaving = False
        self.pause: Pause | None = None
        self.on_day: Callable[[float], None] = lambda _: None  # what the day's calls have cost, whenever that changes
        self.tokens: set[str] = set()  # the names of the attempts that may call

    @property
    def is_possible(self) -> bool:
        """Whether there is a credential to call the API with."""
        return self._order is not None

    @property
    def state(self) -> GatewayState:
        """For people."""
        if self._task is None:
            return "not needed yet"
        if self._link is not None:
            return "running"
        return "down" if self._deaths > 1 or self._task.done() else "starting"

    @property
    def pid(self) -> int | None:
        """Of its process, to show."""
        return self._process.pid if self._process is not None else None

    @property
    def base_url(self) -> str | None:
        """Where agents find it that need TCP, to show."""
        return self._sockets.base_url if self._sockets is not None else None

    # -- what the engine asks for

    def place(self) -> GatewayPlace:
        """Where attempts find it, from now on: calls wait there until it is up. Raises OSError."""
        if self._sockets is None:
            if self._process is not None:
                msg = "an earlier daemon's gateway has not answered yet"
                raise GatewayNotReady(msg)
            self._sockets = make_sockets(self._layout.gateway)
        elif not self._layout.gateway.messages.is_socket():
            self._sockets = listen_again(self._layout.gateway, self._sockets)
            self._is_deaf = True
            self._say(Warn("messages.sock was gone from gateway/: made anew, with another gateway to listen there"))
            if self._link is not None:
                self._link.close()
        self._keep_up()
        return GatewayPlace(base_url=self._sockets.base_url)

    def place_if_there(self) -> GatewayPlace | None:
        """As `place`, where it runs and can be found; else None, and nothing is done about it."""
        if self._sockets is None or self._link is None or not self._layout.gateway.messages.is_socket():
            return None
        return GatewayPlace(base_url=self._sockets.base_url)

    async def take_up(self) -> None:
        """At the daemon's start: go on with the gateway that runs, or start one where attempts run that need it."""
        if self._task is not None:
            return
        if self._layout.gateway.address.exists():
            self._process = find_process(self._layout)
        if self._process is not None:
            self._keep_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(HELLO_SECONDS):
                    await self._linked.wait()
        elif self.tokens:
            self._keep_up()

    def follow(self, settings: Settings, secrets: Secrets) -> None:
        """Go by these from now on: one that runs by another order is replaced, as it is looked at again."""
        old, self._order = self._order, _order(settings, secrets)
        if self._order is not None and self._order != old and self._link is not None:
            self._link.close()
        elif self._order is not None and self._task is not None:
            self._keep_up()  # it was given up for want of a credential

    async def account_of(self, ref: str, attempt: int, since: datetime) -> AttemptAccount | None:
        """End an attempt's calls, and say what they cost in all; None where no gateway says so in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_SECONDS
        while self._task is not None and not self._task.done() and (left := until - loop.time()) > 0:
            with suppress(TimeoutError, LinkLost):
                async with asyncio.timeout(left):
                    await self._linked.wait()
                    if self._link is not None:
                        return await self._link.close_attempt(ref, attempt, since)
            await asyncio.sleep(0.05)
        return None

    async def resume(self) -> None:
        """Somebody said to go on: it may call again at once."""
        self.pause = None  # until it says otherwise
        if self._link is not None:
            with suppress(LinkLost):
                await self._link.resume()

    def look(self) -> None:
        """Raise what was a bug of ours in the watching of it."""
        if self._task is not None and self._task.done() and not self._leaving:
            self._task.result()

    # -- the daemon's end

    async def leave(self, *, is_needed: bool, wait_seconds: float, kill: bool) -> None:
        """The daemon ends. A gateway that no attempt needs any more is ended too, and waited for so long.

        `kill`: one that has not ended by then.
        """
        self._leaving = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process, self._process = self._process, None
        if process is not None:
            if not is_needed:
                await _end(process, wait_seconds, kill=kill)
            process.let_go()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    # -- keeping it up

    def _keep_up(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=KEEPING_UP)
            self._task.add_done_callback(lambda _: self._wake.set())

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began, was_replaced, why = loop.time(), False, ""
            try:
                if self._process is None:
                    self._process = self._start()
                if self._process is None:
                    return
                was_replaced = await self._accompany(self._process)
                why, self._process = self._process.reap(), None
            except OSError as error:
                why = describe(error)
            self._wake.set()
            if was_replaced:
                continue
            self._deaths = 1 if loop.time() - began >= STEADY_SECONDS else self._deaths + 1
            seconds = WAITS[min(self._deaths, len(WAITS)) - 1]
            if self._deaths == 1:
                self._say(Warn(f"the gateway has ended: {why}; another is started"))
            else:
                again = f"{why}, {self._deaths} times in a row; tried again in {seconds:g} s"
                self._trouble.mention(FaultKind.OTHER, KEEPING_UP, again)
            await asyncio.sleep(seconds)

    def _start(self) -> Process | None:
        """Start one; None where there is nothing to call the API with. Raises OSError."""
        if self._order is None:
            self._trouble.mention(FaultKind.OTHER, KEEPING_UP, "it is gone, and there is no credential for another")
            return None
        if self._sockets is None:
            self._sockets = make_sockets(self._layout.gateway)
        process = start_process(self._layout, self._order, self._sockets, os.environ, self._dress)
        self._is_deaf = False
        self._say(f"started the gateway pid {process.pid}")
        return process

    async def _accompany(self, process: Process) -> bool:
        """Keep the link for as long as that process lives; whether we have ended it for another to take its place."""
        ended = asyncio.ensure_future(_ended(process))
        try:
            while not ended.done():
                if await self._link_up(process, ended) and not self._is_right:
                    self._say(f"replacing the gateway pid {process.pid}: it is of another version, key or settings")
                    process.send(signal.SIGTERM)
                    await asyncio.wait({ended}, timeout=LEAVE_SECONDS)
                    process.send(signal.SIGKILL)
                    await ended
                    return True
                if self._link is not None:
                    lost = asyncio.ensure_future(self._link.lost.wait())
                    await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
                    lost.cancel()
                    self._unlink()
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            self._unlink()
        return False

    async def _link_up(self, process: Process, ended: asyncio.Future[None]) -> bool:
        """Link to that process; False where it ends first, or says nothing for so long that it is killed."""
        loop = asyncio.get_running_loop()
        dumb_at, pause, why = loop.time() + DUMB_SECONDS, 0.02, ""
        while not ended.done():
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    await self._try_to_link(process)
            except OSError as error:  # a TimeoutError is one too
                why = describe(error)
            else:
                return True
            if loop.time() >= dumb_at:
                self._say(Warn(f"killing the gateway pid {process.pid}: it does not answer: {why}"))
                process.send(signal.SIGKILL)
                await ended
            await asyncio.wait({ended}, timeout=pause)
            pause = min(pause * 1.5, 0.5)
        return False

    async def _try_to_link(self, process: Process) -> None:
        link = await open_link(self._layout.gateway.daemon, process.pid, self._hear)
        try:
            hello, descriptors = await link.hello()
            self._take_sockets(descriptors)
        except BaseException:
            link.close()
            raise
        self._link = link
        self._is_right = hello.version == haikud.__version__ and (
            self._order is None or (hello.order_digest == self._order.digest and not self._is_deaf)
        )
        if process.child is None:
            self._say(f"took over the gateway pid {process.pid}")
        self._linked.set()
        self._trouble.heal(KEEPING_UP)
        self._wake.set()

    def _take_sockets(self, descriptors: list[int]) -> None:
        if self._sockets is None:
            self._sockets = adopt_sockets(self._layout.gateway, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)

    def _unlink(self) -> None:
        self._linked.clear()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _hear(self, message: LinkMessage) -> None:
        if message.kind is not LinkKind.CLOSED:
            self.pause = message.pause
        if message.day_spent_usd is not None:
            self.on_day(message.day_spent_usd)
        self._wake.set()


def _order(settings: Settings, secrets: Secrets) -> GatewayOrder | None:
    if secrets.api_key is None:
        return None
    return GatewayOrder(
        version=haikud.__version__,
        credential=secrets.api_key,
        base_url=settings.api.base_url or secrets.base_url or API,
        api=settings.api,
        prices=settings.prices_by_id,
        sonnet_model=settings.sonnet_model,
    )


async def _ended(process: Process) -> None:
    """Wait for its end. One at a time."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.pidfd)


async def _end(process: Process, seconds: float, *, kill: bool) -> None:
    """Ask it to end, and wait for that."""
    process.send(signal.SIGTERM)
    for is_last in (not kill, True):
        try:
            async with asyncio.timeout(seconds):
                await _ended(process)
        except TimeoutError:
            if is_last:
                return
            process.send(signal.SIGKILL)
        else:
            return
