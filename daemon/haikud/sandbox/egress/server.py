"""All connections of one way out, on one event loop: listening sockets come and go with the commands they belong to.

At most so many connections at once are taken; others wait in the kernel's queue, so that no client makes us hold more.
An error in one connection ends that connection, and is said where it should not have been possible.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import ip_address
from typing import Any

from haikud.sandbox.egress.proxy import Proxy
from haikud.sandbox.egress.wire import Gone, Wire, dial, relay
from haikud.sandbox.egress_seam import Kind

MOST_CONNECTIONS = 256
"""To the proxy at once."""

_MOST_FORWARDED = 64
"""To ports on loopback at once."""

_LOOPBACK = tuple(map(ip_address, ("127.0.0.1", "::1")))


class Server:
    """Made, and called, on the loop's own thread."""

    def __init__(self, proxy: Proxy, say: Callable[[str], None], connect_seconds: float = 10.0) -> None:
        self._proxy, self._say, self._connect_seconds = proxy, say, connect_seconds
        self._room = {"proxy": asyncio.Semaphore(MOST_CONNECTIONS), "port": asyncio.Semaphore(_MOST_FORWARDED)}
        self._passing: set[asyncio.Task[None]] = set()  # that end with the command
        self._lasting: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()

    def adopt(self, kind: Kind, port: int, listener: socket.socket, credentials: str | None = None) -> None:
        """Serve what connects there, and own it: up to `release`; beyond it with `credentials`, which clients bring."""
        listener.setblocking(False)
        serve = functools.partial(self._proxy.serve, credentials) if kind == "proxy" else self._forwarding(port)
        among = self._passing if credentials is None else self._lasting
        self._keep(self._accept(listener, self._room[kind], serve), among, listener.close)

    def release(self) -> None:
        """The command has ended."""
        for task in self._passing:
            task.cancel()

    async def end(self) -> None:
        """Cut everything."""
        tasks = self._passing | self._lasting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]], at_end: Callable[[], None]
    ) -> None:
        """`at_end` is called even where the work was cancelled before it began."""
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(lambda _: at_end())
        task.add_done_callback(among.discard)

    async def _accept(
        self, listener: socket.socket, room: asyncio.Semaphore, serve: Callable[[Wire], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await room.acquire()
            try:
                client, _ = await loop.sock_accept(listener)
            except BaseException as error:
                room.release()
                if not isinstance(error, OSError):
                    raise
                self._say_once(f"network: no connection can be taken: {error}")  # too many descriptors, mostly
                await asyncio.sleep(0.2)
                continue

            def end(client: socket.socket = client) -> None:
                client.close()
                room.release()

            self._keep(self._serve(client, serve), self._passing, end)

    async def _serve(self, client: socket.socket, serve: Callable[[Wire], Awaitable[None]]) -> None:
        try:
            await serve(Wire(client))
        except (OSError, Gone):
            pass  # how connections end
        except Exception as error:  # noqa: BLE001 -- one connection's trouble must not end the others; it is said
            self._say_once(f"network: a connection failed by a fault of haikud's: {error!r}")

    def _forwarding(self, port: int) -> Callable[[Wire], Awaitable[None]]:
        async def serve(client: Wire) -> None:
            try:
                target = await dial([(address, port) for address in _LOOPBACK], self._connect_seconds)
            except OSError:
                client.close(reset=True)
                return
            try:
                await relay(client, target, None)
            finally:
                target.close()

        return serve

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < 20:
            self._said.add(text)
            self._say(text)
