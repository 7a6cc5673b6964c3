"""The Messages API, as the gateway calls it: with the real credential, and with headers that it knows.

Promises: the credential goes to the API and nowhere else; no cookie is kept, no redirect followed; loopback is never
asked for through a proxy. What a client sends along is passed on by name, never wholesale. Fails as aiohttp does:
ClientConnectorError and its like where nothing was sent, other ClientErrors and TimeoutError after that.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections import OrderedDict
from collections.abc import Mapping

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from haikud.contracts.gateway import GatewayOrder
from haikud.gateway.requests import Asked

_OAUTH_PREFIX = "sk-ant-oat"
_OAUTH_BETA = "oauth-2025-04-20"  # what the API wants to see with such a token, as the SDK sends it

_PASSED_ON = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "anthropic-version",
        "user-agent",
        "x-app",
        "x-claude-code-session-id",
    }
)
_PASSED_ON_PREFIX = "x-stainless-"
_PASSED_BACK = frozenset({"content-type", "request-id", "retry-after", "x-should-retry", "cache-control", "cf-ray"})
_PASSED_BACK_PREFIXES = ("anthropic-", "x-haikud-scripted")

_WHOLE_ANSWER_PATIENCE = 5
"""An answer that is not streamed is silent until it is whole: so many times api.stall_seconds are waited for it."""

_COUNT_SECONDS = 15.0
_COUNTS_KEPT = 256
_MOST_COUNT_BYTES = 65_536

_IDLE_SECONDS = 30.0
_READ_BUFFER = 65_536


class Upstream:
    """The client. To be made, and closed, on the event loop that uses it."""

    def __init__(self, order: GatewayOrder) -> None:
        self._base = URL(order.base_url.rstrip("/"))
        self._stall = order.api.stall_seconds
        self._credential = order.credential
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not _is_loopback(self._base.host or ""),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=order.api.connect_seconds, sock_read=order.api.stall_seconds
            ),
            read_bufsize=_READ_BUFFER,
            skip_auto_headers=("User-Agent", "Accept"),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    async def is_reachable(self) -> bool:
        """Whether the API takes connections. OSError or TimeoutError where it does not."""
        timeout = aiohttp.ClientTimeout(total=self._session.timeout.sock_connect)
        async with self._session.head(self._base, allow_redirects=False, timeout=timeout):
            return True  # whatever it answers

    async def post(
        self, path: str, query: str, headers: Mapping[str, str], data: bytes, *, streamed: bool = True
    ) -> aiohttp.ClientResponse:
        """Send a request; the answer, once its headers are there. To be released or closed by the caller."""
        patience = self._stall if streamed else self._stall * _WHOLE_ANSWER_PATIENCE
        return await self._session.post(
            self._url(path, query),
            data=data,
            headers=self._headers(headers),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._session.timeout.sock_connect, sock_read=patience
            ),
        )

    async def count(self, asked: Asked, query: str, headers: Mapping[str, str]) -> int | None:
        """Tokens of input by the API's own count, which is free; None where it cannot be had."""
        data = asked.counting()
        key = hashlib.sha256(data).digest()
        if key in self._counts:
            self._counts.move_to_end(key)
            return self._counts[key]
        try:
            tokens = await self._ask_count(data, query, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return None
        self._counts[key] = tokens
        while len(self._counts) > _COUNTS_KEPT:
            self._counts.popitem(last=False)
        return tokens

    async def _ask_count(self, data: bytes, query: str, headers: Mapping[str, str]) -> int:
        async with self._session.post(
            self._url("/v1/messages/count_tokens", query),
            data=data,
            headers=self._headers(headers),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=_COUNT_SECONDS),
        ) as response:
            if response.status != 200:
                msg = f"counting was answered with {response.status}"
                raise ValueError(msg)
            tokens = json.loads(await response.content.read(_MOST_COUNT_BYTES))["input_tokens"]
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            msg = "the count is no number"
            raise ValueError(msg)
        return tokens

    def _url(self, path: str, query: str) -> URL:
        url = f"{self._base}{path}"
        return URL(f"{url}?{query}" if query else url, encoded=True)

    def _headers(self, given: Mapping[str, str]) -> CIMultiDict[str]:
        passed = CIMultiDict(
            (name, value)
            for name, value in given.items()
            if name.lower() in _PASSED_ON or name.lower().startswith(_PASSED_ON_PREFIX)
        )
        passed["content-type"] = "application/json"
        passed["accept-encoding"] = "identity"  # what is metered must be readable
        if self._credential.startswith(_OAUTH_PREFIX):
            passed["authorization"] = f"Bearer {self._credential}"
            betas = [part.strip() for value in passed.getall("anthropic-beta", []) for part in value.split(",")]
            passed["anthropic-beta"] = ",".join([*(beta for beta in betas if beta != _OAUTH_BETA), _OAUTH_BETA])
        else:
            passed["x-api-key"] = self._credential
        return passed


def passed_back(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """What of the API's headers the client gets to see."""
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() in _PASSED_BACK or name.lower().startswith(_PASSED_BACK_PREFIXES)
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
