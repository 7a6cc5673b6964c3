"""A gateway on the test's own event loop, before a scripted API in a thread: quick to start, all parts real.

async with gateway_here(tmp_path, api.base_url) as gateway:
    key = gateway.token("plan.task")
    async with gateway.client(key) as client:
        ... await client.post("/v1/messages", json=...)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.gateway_process import an_order, issue_token, listen_for_gateway

from haikud.contracts.gateway import AttemptAccount
from haikud.contracts.usage_journal import JournalLine
from haikud.gateway.serving import Gateway
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import iter_lines

MODEL = "claude-haiku-5-5"
VERSION = {"anthropic-version": "2023-06-01"}


def says(text: str = "hello", **fault: Any) -> dict[str, Any]:
    """A scenario in which every request gets the same answer."""
    return {"name": "same", "conversations": [{"turns": [{"text": text, **({"fault": fault} if fault else {})}]}]}


def ask(text: str = "hi", **fields: Any) -> dict[str, Any]:
    """The body of a small request."""
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}


def events_in(data: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events."""
    return [json.loads(line[5:]) for line in data.splitlines() if line.startswith(b"data:")]


@dataclass
class GatewayHere:
    """See the module's head."""

    layout: SpoolLayout
    gateway: Gateway
    base_url: str

    def token(self, ref: str, attempt: int = 1, **changed: Any) -> str:
        """Give an attempt a token; what it presents."""
        return issue_token(self.layout, ref, attempt, **changed)

    def client(self, key: str, *, over_socket: bool = False) -> aiohttp.ClientSession:
        """A client of the Messages API with that key."""
        connector = aiohttp.UnixConnector(str(self.layout.gateway.messages)) if over_socket else None
        headers = {"x-api-key": key, **VERSION}
        return aiohttp.ClientSession(self.base_url, headers=headers, connector=connector)

    async def account(self, key: str, after: int = 0) -> AttemptAccount:
        """An attempt's account, asked for as a runner does."""
        async with self.client(key) as client, client.get(f"/haikud/account?after={after}") as answer:
            assert answer.status == 200, await answer.text()
            return AttemptAccount.model_validate_json(await answer.read())

    def journal(self) -> list[JournalLine]:
        """All lines of the journal."""
        found: list[JournalLine] = []
        for path in sorted(self.layout.gateway.usage.glob("*.jsonl")):
            found += iter_lines(path, JournalLine, strict=True)
        return found


@asynccontextmanager
async def gateway_here(folder: Path, base_url: str, **api: Any) -> AsyncIterator[GatewayHere]:
    """Serve until the block ends."""
    layout = SpoolLayout(folder / "spool")
    sockets = listen_for_gateway(layout)
    gateway = Gateway(layout, an_order(base_url, **api), sockets)
    try:
        await gateway.start()
        yield GatewayHere(layout, gateway, f"http://127.0.0.1:{sockets[1].getsockname()[1]}")
    finally:
        await gateway.close()
        for one in sockets:
            one.close()
