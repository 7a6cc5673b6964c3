"""The way out as the sandbox sees it (`Egress`): adopts a command's listening sockets and serves them on one thread.

The thread begins with the first socket, not before; orders reach it in their order, and none of them blocks. It ends
with `close`, and with the process at the latest: nobody waits for it. Should it fail, that is said, and connections
fail from then on: nothing gets out another way.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from haikud.contracts.hosts import Address
from haikud.sandbox.egress.hosts import HostList
from haikud.sandbox.egress.upstream import read_upstreams
from haikud.sandbox.egress_seam import Kind, MakeEgress
from haikud.sandbox.policy import Policy

if TYPE_CHECKING:
    from haikud.sandbox.egress.proxy import Limits
    from haikud.sandbox.egress.server import Server

_USER = "haikud"
_NO_PROXY = "127.0.0.1,localhost,::1"

PROXY_NAMES = frozenset(
    name for word in ("http", "https", "ftp", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper())
)
"""Variables that tell programs of a proxy."""


class Gate:
    """One sandbox's way out."""

    def __init__(
        self,
        policy: Policy,
        say: Callable[[str], None],
        host: Mapping[str, str],
        *,
        find: Callable[[str], list[Address]] | None = None,
        limits: Limits | None = None,
    ) -> None:
        listed = policy.settings.hosts if policy.settings.network == "listed" else []
        self._hosts = HostList(listed, policy.ports)
        self._upstreams = read_upstreams(host)
        self._say, self._find, self._limits = say, find, limits
        self._password: str | None = None  # of a proxy that other processes of this machine could reach, too
        self._own_port: int | None = None
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._orders: list[Callable[[Server], None]] = []
        self._wake: Callable[[], object] = _nobody  # tells the thread of orders
        self._closed = False

    def adopt(self, kind: Kind, port: int, listener: socket.socket) -> None:
        """Serve this listening socket up to `release`, and own it."""
        if not self._order(lambda server: server.adopt(kind, port, listener)):
            listener.close()

    def release(self) -> None:
        """The command has ended: its sockets and connections end, too."""
        if self._thread is not None:
            self._order(lambda server: server.release())

    def environment(self, port: int) -> dict[str, str]:
        """Variables by which programs find the proxy at 127.0.0.1:port.

        Not ALL_PROXY: what reads nothing but that speaks other protocols than HTTP. Node reads them when told to.
        """
        own = self._password is not None and port == self._own_port
        url = f"http://{f'{_USER}:{self._password}@' if own else ''}127.0.0.1:{port}"
        proxies = {name: url for word in ("http_proxy", "https_proxy") for name in (word, word.upper())}
        return proxies | {"no_proxy": _NO_PROXY, "NO_PROXY": _NO_PROXY, "NODE_USE_ENV_PROXY": "1"}

    def landlock_port(self) -> int:
        """The port on the machine's loopback where the proxy listens, with a password. Raises OSError."""
        if self._own_port is None:
            listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            self._own_port, self._password = listener.getsockname()[1], os.urandom(24).hex()
            port = self._own_port
            credentials = f"{_USER}:{self._password}"
            if not self._order(lambda server: server.adopt("proxy", port, listener, credentials)):
                listener.close()
        return self._own_port

    def close(self) -> None:
        """Serve nothing any more; what is open is cut. May be called twice, and does not wait."""
        with self._lock:
            self._closed = True
            self._wake()

    def _tell(self, text: str) -> None:
        """A line for the log, which may be closed once this gate is."""
        with self._lock, suppress(OSError):  # where it cannot be said, it can still be served
            if not self._closed:
                self._say(text)

    def _order(self, order: Callable[[Server], None]) -> bool:
        """Have it done on the thread; False: there is none any more."""
        with self._lock:
            if self._closed:
                return False
            if self._thread is None and not self._start():
                return False
            self._orders.append(order)
            self._wake()
            return True

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="haikud-egress", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no room for another thread
            self._tell(f"network: the proxy of isolated commands cannot start: {error}")
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        try:
            import asyncio  # here: a runner whose commands need no way out does without

            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 -- a thread's end would go unseen otherwise
            self._tell(f"network: the proxy of isolated commands has failed: {error!r}")
        finally:
            with self._lock:
                self._closed = True
                self._wake = _nobody

    async def _serve(self) -> None:
        import asyncio

        from haikud.sandbox.egress.proxy import Proxy, look_up
        from haikud.sandbox.egress.server import Server

        proxy = Proxy(self._hosts, self._upstreams, self._tell, find=self._find or look_up, limits=self._limits)
        server, closed, loop = Server(proxy, self._tell), asyncio.Event(), asyncio.get_running_loop()

        def obey() -> None:
            with self._lock:
                orders, self._orders = self._orders, []
                if self._closed:
                    closed.set()
            for order in orders:
                try:
                    order(server)
                except OSError as error:
                    self._tell(f"network: a command's connections cannot be served: {error}")

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has just failed, which is said
                loop.call_soon_threadsafe(obey)

        with self._lock:
            self._wake = wake
        obey()
        await closed.wait()
        with self._lock:
            self._wake = _nobody
        obey()
        await server.end()


def _nobody() -> object:
    """There is nobody to wake yet, or any more."""
    return None


def open_egress(say: Callable[[str], None], host: Mapping[str, str] | None = None) -> MakeEgress:
    """What makes a policy's way out. `say`: a line for the log. `host`: the environment that may name a proxy."""
    return lambda policy: Gate(policy, say, os.environ if host is None else host)
