"""One connection to the proxy: what it asks for is read, judged, connected, and passed on.

The host's name and port are judged before anything is looked up, its addresses after that, and the connection goes to
an address that was judged: a name that points elsewhere a moment later changes nothing. A connection carries one
request or one tunnel. Whoever is refused is told why (403, naming the setting), and so is the log, once for each host.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from haikud.contracts.hosts import Address, HostEntry, read_host
from haikud.sandbox.egress.client_hello import is_hello, is_whole, server_name
from haikud.sandbox.egress.hosts import HostList, may_mean
from haikud.sandbox.egress.requests import Refusal, Request, in_brackets, read_request, read_response_head
from haikud.sandbox.egress.upstream import Upstream, Upstreams
from haikud.sandbox.egress.wire import Gone, Silence, Wire, dial, pass_chunks, pass_exactly, pump, relay

_MOST_LINGER_BYTES = 1_048_576
_LINGER_SECONDS = 2.0
_MOST_TOLD = 50
"""Hosts that are told in the log as refused."""

_MOST_READS = 64
"""Until a TLS greeting is there."""

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """In seconds."""

    head: float = 20.0  # until a request's head is there
    connect: float = 10.0  # to look a name up, and again to connect
    silence: float = 300.0  # of a connection without a byte


def look_up(name: str) -> list[Address]:
    """A name's addresses, as the machine finds them. Raises OSError, and UnicodeError for what is no name."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [ip_address(str(place[4][0]).partition("%")[0]) for place in found]


class Proxy:
    """Serves connections under one list. Made on the thread that serves."""

    def __init__(
        self,
        hosts: HostList,
        upstreams: Upstreams,
        say: Callable[[str], None],
        *,
        find: Callable[[str], list[Address]] = look_up,
        limits: Limits | None = None,
    ) -> None:
        self._hosts, self._upstreams, self._say, self._find = hosts, upstreams, say, find
        self._limits = limits or Limits()
        self._looking_up = asyncio.Semaphore(16)
        self._told: set[str] = set()

    async def serve(self, credentials: str | None, client: Wire) -> None:
        """One connection to its end; the caller closes it. Raises OSError and Gone where it breaks.

        `credentials`: USER:PASSWORD that its request must bring; None: none is asked for.
        """
        try:
            request = await self._ask(client)
            if request is None:
                return
            _check(request, credentials)
            entry = self._judge(request)
            target, upstream = await self._connect(request, entry)
            try:
                if request.is_tunnel:
                    await self._tunnel(request, client, target)
                else:
                    await self._exchange(request, client, target, upstream)
            finally:
                target.close()
        except Refusal as refusal:
            if not client.was_answered:
                await _refuse(client, refusal)

    async def _ask(self, client: Wire) -> Request | None:
        """What the client asks for; None: it went away, or took too long."""
        with contextlib.suppress(TimeoutError, Gone):
            async with asyncio.timeout(self._limits.head):
                return read_request(await client.head())
        return None

    def _judge(self, request: Request) -> HostEntry:
        """The entry that lets the request through. Raises Refusal."""
        entry = self._hosts.find(request.host, request.port)
        if entry is None:
            self._tell(request.authority, "it is not listed in sandbox.hosts")
            raise Refusal(
                403,
                "Not listed in sandbox.hosts",
                f"{request.authority} is not among the hosts that the settings list (sandbox.hosts); an isolated "
                "command reaches no other. Do without it, or ask a person to list it.",
            )
        return entry

    async def _connect(self, request: Request, entry: HostEntry) -> tuple[Wire, Upstream | None]:
        """A connection to the host, or to the machine's own proxy that leads there. Raises Refusal."""
        host = request.host
        upstream = self._upstreams.towards(host, request.port, tunnel=request.is_tunnel)
        if host.address is not None and host.address.is_loopback:
            upstream = None  # what is listed there is here
        if upstream is not None:
            return await self._connect_through(request, upstream), upstream
        found = [host.address] if host.address is not None else await self._addresses(host.name)
        allowed = [address for address in found if may_mean(entry, address)]
        if not allowed:
            why = f"its name means {found[0]}, which is not a public address"
            self._tell(request.authority, why)
            raise Refusal(
                403,
                "Not a public address",
                f"{host.name} is listed, but {why}. Where that is meant, the settings list it with its port "
                f"({in_brackets(host)}:{request.port}), or the address itself (sandbox.hosts).",
            )
        return await self._dial(allowed, request.port, request.authority), None

    async def _connect_through(self, request: Request, upstream: Upstream) -> Wire:
        if upstream.fault is not None:
            self._tell(request.authority, upstream.fault)
            raise Refusal(502, "Bad Gateway", upstream.fault)
        proxy = "the daemon's own proxy"
        target = await self._dial(await self._addresses(upstream.host), upstream.port, proxy)
        if not request.is_tunnel:
            return target
        lines = [f"CONNECT {request.authority} HTTP/1.1", f"Host: {request.authority}"]
        if upstream.authorization:
            lines.append(f"Proxy-Authorization: {upstream.authorization}")
        status = 0
        try:
            async with asyncio.timeout(self._limits.connect):
                await target.send("".join(f"{line}\r\n" for line in lines).encode("ascii") + b"\r\n")
                status, _ = read_response_head(await target.head())
        except (OSError, Refusal) as error:
            target.close()
            raise Refusal(502, "Bad Gateway", f"{proxy} did not connect to {request.authority}") from error
        except BaseException:
            target.close()
            raise
        if status != 200:
            target.close()
            self._tell(request.authority, f"{proxy} answered {status}")
            raise Refusal(502, "Bad Gateway", f"{proxy} did not connect to {request.authority} (it answered {status})")
        return target

    async def _dial(self, addresses: Sequence[Address], port: int, what: str) -> Wire:
        try:
            return await dial([(address, port) for address in addresses[:8]], self._limits.connect)
        except TimeoutError as error:
            raise Refusal(504, "Gateway Timeout", f"{what} did not answer in {self._limits.connect:g} s") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Refusal(502, "Bad Gateway", f"{what} cannot be reached: {reason}") from error

    async def _addresses(self, name: str) -> list[Address]:
        """A name's addresses; the looking up is done by a thread of its own, since nothing ends it early."""
        with contextlib.suppress(ValueError):
            return [ip_address(name)]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address] | Exception] = loop.create_future()

        def arrived(found: list[Address] | Exception) -> None:
            self._looking_up.release()
            if not answer.done():
                answer.set_result(found)

        def find() -> None:
            found: list[Address] | Exception
            try:
                found = self._find(name)
            except (OSError, ValueError) as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(arrived, found)

        found: list[Address] | Exception
        try:
            async with asyncio.timeout(self._limits.connect):
                await self._looking_up.acquire()
                _start(find, self._looking_up)
                found = await answer
        except (TimeoutError, RuntimeError) as error:
            found = error
        if isinstance(found, Exception) or not found:
            raise Refusal(502, "Bad Gateway", f"the name {name} was not found: {found or 'no address'}")
        return found

    async def _tunnel(self, request: Request, client: Wire, target: Wire) -> None:
        await client.send(_ESTABLISHED)
        await relay(client, target, self._limits.silence, before=functools.partial(self._greeting, request, client))

    async def _greeting(self, request: Request, client: Wire) -> None:
        """Look at the first bytes of a tunnel. Raises Gone where they are meant for another host."""
        data = await client.some()
        for _ in range(_MOST_READS):
            if not is_hello(data) or is_whole(data):
                break
            more = await client.some()
            if not more:
                raise Gone
            data += more
        else:
            self._tell(request.authority, "a client's TLS greeting did not come to its end")
            raise Gone
        client.put_back(data)
        name = server_name(data) if is_hello(data) else None
        if name is not None and request.host.address is None and not self._is_listed(name, request.port):
            self._tell(request.authority, f"a client greeted {name[:100]!r} there")
            raise Gone

    def _is_listed(self, name: str, port: int) -> bool:
        try:
            return self._hosts.find(read_host(name), port) is not None
        except ValueError:
            return False

    async def _exchange(self, request: Request, client: Wire, target: Wire, upstream: Upstream | None) -> None:
        """One request and its response."""
        await target.send(request.head(through=None if upstream is None else upstream.authorization))
        try:
            async with asyncio.timeout(None) as limit:
                silence = Silence(limit, self._limits.silence)
                async with asyncio.TaskGroup() as both:
                    body = both.create_task(_pass_body(request, client, target, silence))
                    await self._answer(client, target, silence)
                    body.cancel()
        except ExceptionGroup as trouble:
            raise trouble.exceptions[0] from None

    async def _answer(self, client: Wire, target: Wire, silence: Silence) -> None:
        status = 100
        while status < 200:
            try:
                status, head = read_response_head(await target.head())
            except Gone as error:
                raise Refusal(502, "Bad Gateway", "the host ended the connection without an answer") from error
            if status in {101, 407}:
                raise Refusal(502, "Bad Gateway", f"the host answered {status}, which a request cannot ask for here")
            await client.send(head)
            silence.broken()
        await pump(target, client, silence)

    def _tell(self, host: str, why: str) -> None:
        """A line in the log, once for each host."""
        if host in self._told or len(self._told) > _MOST_TOLD:
            return
        self._told.add(host)
        more = "; no further host is named here" if len(self._told) > _MOST_TOLD else ""
        self._say(f"network: {host} was refused: {why}{more}")


def _check(request: Request, credentials: str | None) -> None:
    """Raises Refusal where the password is not the attempt's."""
    if credentials is not None and not hmac.compare_digest((request.credentials or "").encode(), credentials.encode()):
        raise Refusal(
            407,
            "Proxy Authentication Required",
            "this proxy serves one attempt's commands, which have its password in HTTPS_PROXY",
            'Proxy-Authenticate: Basic realm="haikud"',
        )


async def _pass_body(request: Request, client: Wire, target: Wire, silence: Silence) -> None:
    """The request's body, and nothing that follows it. Raises Gone where it ends early, and Refusal."""
    try:
        if request.chunked:
            await pass_chunks(client, target, silence)
        elif request.length:
            await pass_exactly(client, target, request.length, silence)
        if not await client.some():
            silence.one_side_ended()
    except OSError:
        return  # the host takes no more of it, and may have answered already


async def _refuse(client: Wire, refusal: Refusal) -> None:
    """Answer, and take in what the client was about to send: else its system would throw the answer away."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_LINGER_SECONDS):
            await client.send(refusal.answer())
            client.end()
            taken = 0
            while taken < _MOST_LINGER_BYTES and (data := await client.some()):
                taken += len(data)


def _start(work: Callable[[], None], room: asyncio.Semaphore) -> None:
    """Run it on a thread of its own, which nobody waits for. Raises RuntimeError."""
    try:
        threading.Thread(target=work, name="haikud-name", daemon=True).start()
    except RuntimeError:  # the machine has no room for another thread
        room.release()
        raise
