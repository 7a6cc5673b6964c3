"""The Messages API, called: one streamed answer at a time, without retries of the SDK's own.

Promises: a call ends soon once `stop` is set, wherever it is (connecting, waiting for the first byte, streaming,
stalled), with CallStopped; who waits wakes up for an answer, for the order to end, and each `stop.look_seconds`: of
hundreds that wait there are to be few wake-ups. A stall ends after api.stall_seconds. What was received until then
is in the caller's Incoming. Fails with one of faults.CALL_FAULTS.

With a gateway the calls go over its unix socket, and it calls the API. It watches the API's silence itself, and may
hold a call back: as long as the account's limits make it wait, and until others end that hold the budget's last money.
So it is given that time beyond a stall's; a gateway that dies is seen at once.

The asynchronous client is used for exactly that: a blocked read can be cancelled there, and cannot in a thread. Build
it after a fork, never before: a client shared across forks mixes requests up (measured).

Where no TLS is spoken, no certificates are loaded: that takes 60 ms and ten megabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import anthropic
import httpx2

from haikud.agent.haiku.incoming import BrokenStream, Incoming
from haikud.contracts.settings import ApiSettings

DEFAULT_BASE_URL = "https://api.anthropic.com"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_GATEWAY_URL = "http://gateway"
"""The host is only said; the socket is what is connected to."""

_HELD_SECONDS = 150.0
"""That the gateway may hold a call for a budget, and what it needs to say itself that the API is silent."""


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """A context for connections that speak no TLS. Nothing is ever done with it, so forked processes may share it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _direct_client(timeout: httpx2.Timeout, socket: str | None, *, is_plain: bool) -> anthropic.DefaultAsyncHttpxClient:
    """An HTTP client that no proxy variable diverts: only a transport of our own keeps the SDK from reading those."""
    verify = _trusting_nobody() if is_plain else True
    transport = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, uds=socket)
    return anthropic.DefaultAsyncHttpxClient(transport=transport, trust_env=False, timeout=timeout)


class _AtOnce(ThreadPoolExecutor):
    """Does in the caller's thread what is given to it: the SDK asks for the platform's name, once, in a thread.

    Only for calls over a socket that is named by its path: there are no names to be looked up, for which to wait.
    """

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """Do it now. What it raises is in the future."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*given, **named))
        except Exception as error:  # noqa: BLE001 -- told to whoever waits, as a thread would
            done.set_exception(error)
        return done


class CallStopped(Exception):  # noqa: N818 -- the name says what is the case
    """`stop` was set while the call was under way."""


class StopSign(Protocol):
    """Says whether a call is to end."""

    @property
    def descriptor(self) -> int | None:
        """Readable once it may be; None: it is looked at only."""
        ...

    @property
    def look_seconds(self) -> float:
        """How long may pass between two looks."""
        ...

    def is_set(self) -> bool:
        """Whether it is."""
        ...


class MessagesClient:
    """A client for one session, with an event loop of its own. Use it as a context manager.

    `socket`: the gateway's; then `api_key` is its token. `base_url` is the API's either way, for words.
    """

    def __init__(self, api: ApiSettings, api_key: str, socket: str | None = None) -> None:
        self.base_url = api.base_url or DEFAULT_BASE_URL
        self.max_tokens: float | None = None  # that the gateway has left to the last call, where it was less than asked
        self.waited = 0.0  # seconds that it held the last call back
        silence = api.stall_seconds if socket is None else api.stall_seconds + api.quota_wait_seconds + _HELD_SECONDS
        timeout = httpx2.Timeout(silence, connect=api.connect_seconds)
        # A proxy is for the way out; it would not find a server on this machine's loopback.
        where = urlsplit(_GATEWAY_URL if socket is not None else self.base_url)
        local = socket is not None or where.hostname in _LOOPBACK
        self._executor = _AtOnce(max_workers=1) if socket is not None else None
        self._runner = asyncio.Runner()
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,  # given, so that neither the environment nor credentials on disk are looked at
            base_url=self.base_url if socket is None else _GATEWAY_URL,
            max_retries=0,
            timeout=timeout,
            open_telemetry=False,
            http_client=_direct_client(timeout, socket, is_plain=where.scheme == "http") if local else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.closing(self._runner):
            self._runner.run(self.close())

    async def close(self) -> None:
        """Let go of its connections, on the loop that has used them."""
        await self._client.close()

    def receive(self, request: dict[str, Any], incoming: Incoming, stop: StopSign) -> None:
        """Make the call and put its answer into `incoming`."""
        self.max_tokens, self.waited = None, 0.0
        self._runner.run(self._receive(request, incoming, stop))

    async def _receive(self, request: dict[str, Any], incoming: Incoming, stop: StopSign) -> None:
        loop = asyncio.get_running_loop()
        if self._executor is not None:
            loop.set_default_executor(self._executor)
        call = loop.create_task(self.stream(request, incoming))
        told = loop.create_future()
        if stop.descriptor is not None:
            loop.add_reader(stop.descriptor, _tell, stop.descriptor, told)
        try:
            while not call.done():
                waits = {call, told} if not told.done() else {call}
                await asyncio.wait(waits, timeout=stop.look_seconds, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set() and not call.done():
                    raise CallStopped
            call.result()
        finally:
            if stop.descriptor is not None:
                loop.remove_reader(stop.descriptor)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def stream(self, request: dict[str, Any], incoming: Incoming) -> None:
        """The call itself, on the running loop; it ends when its answer does."""
        # create(), not stream(): its raw events are put together by Incoming, which knows a broken answer from a whole.
        async with await self._client.messages.create(**request, stream=True) as stream:
            headers = stream.response.headers
            incoming.request_id = headers.get("request-id")
            self.max_tokens = _number(headers.get("x-haikud-max-tokens"))
            self.waited = _number(headers.get("x-haikud-waited")) or 0.0
            async for event in stream:
                if not isinstance(
                    event, anthropic.BaseModel
                ):  # JSON, but no object: it can happen, whatever the type says
                    raise BrokenStream(f"an event of the stream is no object but {type(event).__name__}")
                incoming.add(event.to_dict(warnings=False))


def _tell(descriptor: int, told: asyncio.Future[None]) -> None:
    asyncio.get_running_loop().remove_reader(descriptor)  # it stays readable
    if not told.done():
        told.set_result(None)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
