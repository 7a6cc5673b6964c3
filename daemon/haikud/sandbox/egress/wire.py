"""Sockets that are read and written with limits.

Nothing is collected: a byte is read when the one before it has been taken, so that a slow reader slows its writer down
and a connection holds 64 KiB a direction at most. Half a connection may end before the other half. Fails with OSError
(time limits among it), with Gone where the other side ended in the middle of something, and with Refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address

from haikud.contracts.hosts import Address
from haikud.sandbox.egress.requests import MOST_HEAD_BYTES, Refusal, bad_request, read_chunk_size

_CHUNK = 65_536
_MOST_LINE_BYTES = 4_096

AFTER_END_SECONDS = 30.0
"""That the rest of a connection may be silent when one side of it has ended."""


class Gone(Exception):  # noqa: N818 -- the name says what is the case
    """The other side ended the connection in the middle of something."""


class Wire:
    """A connected socket, owned."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with contextlib.suppress(OSError):  # of a connection that is over already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._ahead = b""  # read, but not taken yet
        self.was_answered = False  # something was sent to it

    async def head(self) -> bytes:
        """Up to the first empty line, and with it. Raises Gone and Refusal."""
        data, looked = bytearray(self._take_ahead()), 0
        while (end := data.find(b"\r\n\r\n", looked)) < 0:
            looked = max(0, len(data) - 3)  # a head that comes byte by byte is not searched again and again
            if len(data) > MOST_HEAD_BYTES:
                raise Refusal(431, "Request Header Fields Too Large", f"a head has at most {MOST_HEAD_BYTES} bytes")
            data += await self._receive(8_192)
        self._ahead = bytes(data[end + 4 :])
        return bytes(data[: end + 4])

    async def line(self) -> bytes:
        """Up to the next line end, and without it. Raises Gone and Refusal."""
        data = bytearray(self._take_ahead())
        while (end := data.find(b"\r\n")) < 0:
            if len(data) > _MOST_LINE_BYTES:
                raise bad_request("a line of its body")
            data += await self._receive(_MOST_LINE_BYTES)
        self._ahead = bytes(data[end + 2 :])
        return bytes(data[:end])

    async def some(self, most: int = _CHUNK) -> bytes:
        """What there is, as soon as there is something; empty at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:most], self._ahead[most:]
            return data
        return await self._loop.sock_recv(self._socket, most)

    def put_back(self, data: bytes) -> None:
        """Have it read once more."""
        self._ahead = data + self._ahead

    async def send(self, data: bytes) -> None:
        """All of it, as fast as the other side takes it."""
        self.was_answered = True
        await self._loop.sock_sendall(self._socket, data)

    def end(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Let go of it; with `reset`, so that the other side sees a failure rather than an end."""
        if reset:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def _take_ahead(self) -> bytes:
        data, self._ahead = self._ahead, b""
        return data

    async def _receive(self, most: int) -> bytes:
        data = await self._loop.sock_recv(self._socket, most)
        if not data:
            raise Gone
        return data


async def dial(addresses: Sequence[tuple[Address, int]], seconds: float) -> Wire:
    """Connect to the first that answers; each gets its share of the time. Raises OSError."""
    trouble: OSError = TimeoutError("no address to connect to")
    for number, (address, port) in enumerate(addresses):
        family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
        began = asyncio.get_running_loop().time()
        connected = None
        try:
            connected = socket.socket(family, socket.SOCK_STREAM)
            connected.setblocking(False)
            async with asyncio.timeout(max(1.0, seconds / (len(addresses) - number))):
                await asyncio.get_running_loop().sock_connect(connected, (str(address), port))
            return Wire(connected)
        except OSError as error:
            trouble = error
            if connected is not None:
                connected.close()
        except BaseException:
            if connected is not None:
                connected.close()
            raise
        seconds -= asyncio.get_running_loop().time() - began
    raise trouble


class Silence:
    """How long a connection may be silent. Every byte that gets through begins it anew."""

    def __init__(self, limit: asyncio.Timeout, most: float | None) -> None:
        self._limit, self._most = limit, most
        self.broken()

    def broken(self) -> None:
        """Something got through."""
        if self._most is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._most)

    def one_side_ended(self) -> None:
        """What is left should not take long."""
        self._most = AFTER_END_SECONDS if self._most is None else min(self._most, AFTER_END_SECONDS)
        self.broken()


async def pump(source: Wire, sink: Wire, silence: Silence) -> None:
    """Pass on everything up to the end, and the end."""
    while data := await source.some():
        await sink.send(data)
        silence.broken()
    sink.end()
    silence.one_side_ended()


async def relay(
    one: Wire, other: Wire, most_silence: float | None, before: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Pass bytes on in both directions until both have ended. However that fails, it is over.

    `before`: what looks at the first bytes of `one` before they are passed on; its failure ends all.
    """

    async def there() -> None:
        if before is not None:
            await before()
        await pump(one, other, silence)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            silence = Silence(limit, most_silence)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(there())
                    both.create_task(pump(other, one, silence))
            except* (OSError, Gone):
                pass


async def pass_exactly(source: Wire, sink: Wire, count: int, silence: Silence) -> None:
    """Pass on so many bytes. Raises Gone where there are fewer."""
    while count:
        data = await source.some(min(count, _CHUNK))
        if not data:
            raise Gone
        await sink.send(data)
        silence.broken()
        count -= len(data)


async def pass_chunks(source: Wire, sink: Wire, silence: Silence) -> None:
    """Pass on a body in chunks, written anew, without what may follow its last chunk. Raises Gone and Refusal."""
    while size := read_chunk_size(await source.line()):
        await sink.send(b"%x\r\n" % size)
        await pass_exactly(source, sink, size, silence)
        if await source.line():
            raise bad_request("the end of a chunk")
        await sink.send(b"\r\n")
    for _ in range(100):
        if not await source.line():
            await sink.send(b"0\r\n\r\n")
            return
    raise bad_request("what follows its body")
