"""gateway/daemon.sock: what daemon and gateway tell each other (LinkMessage lines).

Promises: only the process that holds the spool's daemon lock is listened to; one at a time, a new one takes the place
of the one before. The listening sockets go with the answer to HELLO, so that a daemon that was started anew can keep
them open. What cannot be told is not kept: a daemon that comes asks.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from pydantic import ValidationError

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptAccount, GatewayOrder, LinkKind, LinkMessage
from haikud.gateway.accounts import Accounts
from haikud.gateway.books import Books
from haikud.gateway.calls import Calls
from haikud.gateway.gate import Gate
from haikud.gateway.log import log
from haikud.gateway.tokens import Name, Tokens
from haikud.spool.daemon_lock import lock_holder
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import line_as_is

_MOST_LINE_BYTES = 65_536
_NEWS_SECONDS = 1.0
"""Between two pieces of news, at least."""

_ACCEPT_RETRY_SECONDS = 1.0

_UCRED = struct.Struct("3i")


def bind_daemon_socket(layout: SpoolLayout) -> socket.socket:
    """Listen on gateway/daemon.sock. The caller holds gateway.lock: whatever is in its place is a dead gateway's.

    A socket's path may have 108 bytes only, a spool's is as long as it is: so it is named by way of its folder.
    """
    path = layout.gateway.daemon
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
        listener.listen(4)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


class Link:
    """The connection to the daemon. `listening`: the sockets that go with HELLO, messages.sock's first."""

    def __init__(
        self,
        layout: SpoolLayout,
        order: GatewayOrder,
        listening: Sequence[socket.socket],
        books: Books,
        tokens: Tokens,
        calls: Calls,
        accounts: Accounts,
        gate: Callable[[], Gate],
    ) -> None:
        self._layout = layout
        self._order = order
        self._listening = listening
        self._books = books
        self._tokens = tokens
        self._calls = calls
        self._accounts = accounts
        self._gate = gate
        self._peer: socket.socket | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._told_at = float("-inf")
        self._to_tell: asyncio.TimerHandle | None = None
        self.is_alone = asyncio.Event()  # set while no daemon is connected
        self.is_alone.set()

    async def serve(self, listener: socket.socket) -> None:
        """Take daemons' connections, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor is left, or whoever came has gone: no end for calls under way
                log(f"daemon.sock: cannot be listened to: {error.strerror}")
                await asyncio.sleep(_ACCEPT_RETRY_SECONDS)
                continue
            pid = _peer_pid(peer)
            if pid is None or pid != lock_holder(self._layout):
                log(f"daemon.sock: the process {pid} is not this spool's daemon; not listened to")
                peer.close()
                continue
            self._let_go()
            peer.setblocking(False)
            self._peer = peer
            self.is_alone.clear()
            self._reading = loop.create_task(self._read(peer))

    def close(self) -> None:
        """Hang up."""
        self._let_go()

    def tell_news(self) -> None:
        """The pause or the day's sum has changed: tell the daemon, soon."""
        if self._peer is None or self._to_tell is not None:
            return
        wait = max(0.0, self._told_at + _NEWS_SECONDS - time.monotonic())
        self._to_tell = asyncio.get_running_loop().call_later(wait, self._tell)

    def _tell(self) -> None:
        self._to_tell = None
        self._told_at = time.monotonic()
        if self._peer is not None:
            self._send(self._peer, self._message(LinkKind.NEWS))

    def _let_go(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self._hang_up(self._peer)

    def _hang_up(self, peer: socket.socket | None) -> None:
        if peer is not None:
            peer.close()
        if peer is self._peer:
            self._peer = None
            self.is_alone.set()

    async def _read(self, peer: socket.socket) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        with suppress(OSError):
            while data := await loop.sock_recv(peer, _MOST_LINE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(peer, line)
                if len(rest) > _MOST_LINE_BYTES:
                    break
        self._hang_up(peer)

    def _hear(self, peer: socket.socket, line: bytes) -> None:
        try:
            message = LinkMessage.model_validate_json(line)
        except ValidationError:
            log("daemon.sock: a line is no message; ignored")
            return
        if message.kind is LinkKind.HELLO:
            self._send(peer, self._hello(), self._listening)
        elif message.kind is LinkKind.RESUME:
            self._gate().resume()
        elif message.kind is LinkKind.CLOSE and message.ref is not None and message.attempt is not None:
            self._start(self._close(peer, (message.ref, message.attempt), message))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, peer: socket.socket, name: Name, message: LinkMessage) -> None:
        token = self._tokens.revoke(name)
        await self._calls.end(name)
        account: AttemptAccount | None = None
        try:
            account = self._accounts.close(name, token, message.since or utc_now())
        except OSError as error:
            log(f"the journal cannot be read for {name[0]}: {error}")
        told = {"ref": name[0], "attempt": name[1], "account": account}
        self._send(peer, self._message(LinkKind.CLOSED).model_copy(update=told))

    def _hello(self) -> LinkMessage:
        told = {"version": self._order.version, "pid": os.getpid(), "order_digest": self._order.digest}
        return self._message(LinkKind.HELLO).model_copy(update=told)

    def _message(self, kind: LinkKind) -> LinkMessage:
        return LinkMessage(kind=kind, pause=self._gate().pause, day_spent_usd=self._books.spent_on(utc_now().date()))

    def _send(self, peer: socket.socket, message: LinkMessage, sockets: Sequence[socket.socket] = ()) -> None:
        """A daemon that does not read what it is told has hung up, or is about to."""
        if peer.fileno() < 0:
            return
        data = line_as_is(message)
        try:
            sent = socket.send_fds(peer, [data], [one.fileno() for one in sockets], socket.MSG_NOSIGNAL)
        except OSError as error:
            log(f"daemon.sock: the daemon cannot be told: {error.strerror}")
            sent = 0
        if sent < len(data):
            self._hang_up(peer)


def _peer_pid(peer: socket.socket) -> int | None:
    try:
        data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    pid, _, _ = _UCRED.unpack(data)
    return int(pid) if pid > 0 else None
