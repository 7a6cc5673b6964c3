"""The gateway as a whole: its parts put together, served on the daemon's sockets, and ended in order.

Promises: the listening sockets are the daemon's: they stay open there when this process ends, and the kernel queues
who connects meanwhile. TERM lets calls that the API is at work on end, for END_SECONDS; a second one, or the end of
that time, cuts them, and what they have cost is in the books. A gateway whose daemon is gone serves the attempts that
live on, and ends when there are none.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import GatewayOrder
from haikud.costs.prices import PriceList
from haikud.gateway.accounts import Accounts
from haikud.gateway.application import Application
from haikud.gateway.books import Books
from haikud.gateway.calls import Calls
from haikud.gateway.gate import Gate
from haikud.gateway.link import Link, bind_daemon_socket
from haikud.gateway.log import log
from haikud.gateway.tokens import Tokens
from haikud.gateway.upstream import Upstream
from haikud.spool.durable import write_quickly
from haikud.spool.layout import SpoolLayout

END_SECONDS = 60.0
"""How long calls under way may take to end by themselves."""

LOOK_SECONDS = 5.0
"""Between looks for live attempts, while no daemon is connected."""

FIRST_LOOK_SECONDS = 30.0
"""A daemon that has just started its gateway may be slow to connect."""

_BACKLOG = 1024


class Gateway:
    """All parts, on one event loop. `start` may raise OSError."""

    def __init__(self, layout: SpoolLayout, order: GatewayOrder, listening: Sequence[socket.socket]) -> None:
        self._layout = layout
        self._order = order
        self._listening = listening
        self._prices = PriceList(order.prices, order.sonnet_model)
        self._books = Books(layout.gateway)
        self._upstream = Upstream(order)
        self._gate = Gate(order.api, self._on_news, reachable=self._upstream.is_reachable)
        self._tokens = Tokens(layout)
        self._accounts = Accounts(self._books)
        self._calls = Calls(self._books, self._prices, self._gate, self._upstream, order.api, self._on_news)
        self._link = Link(
            layout, order, listening, self._books, self._tokens, self._calls, self._accounts, lambda: self._gate
        )
        application = Application(self._tokens, self._calls, self._accounts).application()
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0, handle_signals=False
        )
        self._sites: list[web.BaseSite] = []
        self._pause_told = ""

    async def start(self) -> None:
        """Open the books and serve."""
        lost = self._books.open(utc_now())
        if lost:
            log(f"{lost} calls were under way when the gateway before this one died: counted as the most they can cost")
        self._prices.load()
        await self._runner.setup()
        for one in self._listening:
            site = web.SockSite(self._runner, one.dup(), backlog=_BACKLOG)
            await site.start()
            self._sites.append(site)

    async def run(self, term: asyncio.Queue[None]) -> None:
        """Serve until TERM comes, or nobody needs it any more. Call `start` first."""
        listener = bind_daemon_socket(self._layout)
        linking = asyncio.create_task(self._link.serve(listener))
        waiting = {asyncio.create_task(term.get()), asyncio.create_task(self._wait_until_unneeded())}
        try:
            done, _ = await asyncio.wait({*waiting, linking}, return_when=asyncio.FIRST_COMPLETED)
            if linking in done:
                linking.result()
            await self._end(term)
        finally:
            for task in (*waiting, linking):
                task.cancel()
            listener.close()
            await self.close()

    async def close(self) -> None:
        """Let go of everything."""
        self._link.close()
        await self._calls.end()
        await self._runner.cleanup()
        self._gate.close()
        await self._upstream.close()
        self._books.close()

    async def _end(self, term: asyncio.Queue[None]) -> None:
        """Take no more calls; let those that the API is at work on end."""
        log("ending: no new calls")
        for site in self._sites:
            await site.stop()
        if self._runner.server is not None:
            self._runner.server.pre_shutdown()  # connections that are kept open end too: each after its answer
        await self._calls.end(unsent_only=True)
        second = asyncio.create_task(term.get())
        ended = asyncio.create_task(self._calls.wait_for_end())
        await asyncio.wait({second, ended}, timeout=END_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in (second, ended):
            task.cancel()

    async def _wait_until_unneeded(self) -> None:
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        looks = 0
        while looks < 2:
            await self._link.is_alone.wait()
            await asyncio.sleep(LOOK_SECONDS)
            looks = looks + 1 if self._link.is_alone.is_set() and not self._tokens.any_live() else 0
        log("no daemon and no attempt is left")

    def _on_news(self) -> None:
        pause = self._gate.pause
        reason = pause.reason if pause else ""
        if reason != self._pause_told:
            self._pause_told = reason
            log(f"paused until {pause.until:%H:%M:%S} UTC: {reason}" if pause else "no longer paused")
        self._link.tell_news()


async def serve(layout: SpoolLayout, order: GatewayOrder, listening: Sequence[socket.socket]) -> None:
    """Be the gateway until it is time to end."""
    term: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, term.put_nowait, None)
    gateway = Gateway(layout, order, listening)
    try:
        await gateway.start()
    except BaseException:
        await gateway.close()
        raise
    gc.freeze()  # what was loaded stays: to look for garbage in it takes a tenth of a second, in which no call goes on
    _write_address(layout, order, listening)
    log(f"serving, pid {os.getpid()}, for {order.base_url}")
    await gateway.run(term)


def _write_address(layout: SpoolLayout, order: GatewayOrder, listening: Sequence[socket.socket]) -> None:
    ports = [int(one.getsockname()[1]) for one in listening if one.family != socket.AF_UNIX]
    address = {"port": ports[0] if ports else None, "pid": os.getpid(), "version": order.version}
    with suppress(OSError):
        write_quickly(layout.gateway.address, json.dumps(address).encode() + b"\n")
