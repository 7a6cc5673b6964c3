"""The link to the gateway: one connection to its daemon.sock, a JSON object a line each way.

Promises: an answer belongs to what was asked, whatever news come in between; whoever answers is the process that was
looked for, by the kernel's word. Fails with LinkLost, at once for all who wait, when the connection ends or brings
something that is no message; after that the link is of no use any more.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from haikud.contracts.gateway import AttemptAccount, LinkKind, LinkMessage
from haikud.engine.gateway.sockets import address_of
from haikud.spool.models import line_as_is

_MOST_LINE_BYTES = 64 * 1024 * 1024
"""An account lists every call of its attempt."""

_PEER = struct.Struct("3i")


class LinkLost(OSError):  # noqa: N818 - reads as what it is
    """The gateway does not answer any more, or not as a gateway does."""


class Link:
    """See the module's head. All methods belong to the event loop's thread."""

    def __init__(self, connection: socket.socket, on_news: Callable[[LinkMessage], None]) -> None:
        self._connection = connection
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._descriptors: list[int] = []
        self._hello: asyncio.Future[LinkMessage] = self._loop.create_future()
        self._accounts: dict[tuple[str, int], asyncio.Future[AttemptAccount | None]] = {}
        self._sending = asyncio.Lock()
        self.lost = asyncio.Event()
        self._loop.add_reader(connection.fileno(), self._readable)

    async def hello(self) -> tuple[LinkMessage, list[int]]:
        """Who the gateway is, and its listening sockets, which are the caller's from now on."""
        await self._send(LinkMessage(kind=LinkKind.HELLO))
        answer = await asyncio.shield(self._hello)
        descriptors, self._descriptors = self._descriptors, []
        return answer, descriptors

    async def close_attempt(self, ref: str, attempt: int, since: datetime) -> AttemptAccount | None:
        """End the attempt's calls; what it has used, None where the gateway cannot say. May be asked again."""
        waiting = self._accounts.get((ref, attempt))
        if waiting is None:
            waiting = self._accounts[ref, attempt] = self._loop.create_future()
        await self._send(LinkMessage(kind=LinkKind.CLOSE, ref=ref, attempt=attempt, since=since))
        return await asyncio.shield(waiting)

    async def resume(self) -> None:
        """Forget the pause: somebody said to go on."""
        await self._send(LinkMessage(kind=LinkKind.RESUME))

    def close(self) -> None:
        """Let go of the connection. Whoever waits for an answer gets LinkLost."""
        if self._connection.fileno() < 0:
            return
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        asked: list[asyncio.Future[Any]] = [self._hello, *self._accounts.values()]
        for waiting in asked:
            if not waiting.done():
                waiting.set_exception(LinkLost("the gateway has ended the connection"))
                waiting.exception()  # whether anybody waits or not
        self._accounts = {}
        self.lost.set()

    async def _send(self, message: LinkMessage) -> None:
        async with self._sending:
            try:
                await self._loop.sock_sendall(self._connection, line_as_is(message))
            except (OSError, ValueError) as error:
                self.close()
                raise LinkLost(f"the gateway takes no messages: {error}") from error

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 18, 8, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._descriptors += descriptors
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if not data or len(self._buffer) > _MOST_LINE_BYTES:
            self.close()
            return
        for line in lines:
            try:
                message = LinkMessage.model_validate_json(line)
            except ValidationError:
                self.close()
                return
            self._take(message)

    def _take(self, message: LinkMessage) -> None:
        if message.kind is LinkKind.HELLO and not self._hello.done():
            self._hello.set_result(message)
        elif message.kind is LinkKind.CLOSED:
            waiting = self._accounts.pop((message.ref or "", message.attempt or 0), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message.account)
        if message.kind in {LinkKind.HELLO, LinkKind.NEWS, LinkKind.CLOSED}:
            self._on_news(message)


async def open_link(path: Path, pid: int, on_news: Callable[[LinkMessage], None]) -> Link:
    """Connect to the gateway with that pid. Raises OSError where nobody listens, LinkLost where somebody else does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with address_of(path) as address:
            await asyncio.get_running_loop().sock_connect(connection, address)
        _check_peer(connection, path, pid)
        return Link(connection, on_news)
    except BaseException:
        connection.close()
        raise


def _check_peer(connection: socket.socket, path: Path, pid: int) -> None:
    """Whoever is the daemon's user can put a socket there: only the process that we look for is believed."""
    peer, _, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if peer != pid:
        raise LinkLost(f"process {peer} listens at {path}, and not the gateway, which is {pid}")
