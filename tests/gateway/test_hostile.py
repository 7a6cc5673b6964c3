"""Clients that do not behave, a disk that refuses, and a gateway that nobody needs any more."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway_here import GatewayHere, ask, gateway_here, says

from haikud.contracts.usage_journal import CallStep
from haikud.gateway import calls, serving
from haikud.offline.server import ScriptedApi
from haikud.spool.claims import boot_id, process_start_time
from haikud.spool.daemon_lock import hold_daemon_lock


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(says("word " * 200_000)) as one:
        yield one


async def raw(gateway: GatewayHere, head: str, body: bytes = b"") -> bytes:
    """Say just that, and hear all that comes until the gateway hangs up or has answered."""
    host, port = gateway.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"}}")
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    finally:
        writer.close()


def head(key: str, *lines: str) -> str:
    return "\n".join(["POST /v1/messages HTTP/1.1", "host: x", f"x-api-key: {key}", *lines])


async def test_bodies_that_do_not_come_are_broken_or_too_large(
    tmp_path: Path, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
):
    seen = len(api.journal)
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        with monkeypatch.context() as patched:
            patched.setattr(calls, "BODY_SECONDS", 0.2)
            assert b" 408 " in await raw(gateway, head(key, "content-length: 100"), b'{"model"')
        assert b" 413 " in await raw(gateway, head(key, "content-length: 33554433"))
        chunks = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        assert b" 413 " in await raw(gateway, head(key, "transfer-encoding: chunked"), chunks * 33)
        assert b" 400 " in await raw(gateway, head(key, "transfer-encoding: chunked"), b"no number\r\n")
        packed = gzip.compress(json.dumps(ask()).encode())
        length = f"content-length: {len(packed)}"
        assert b" 400 " in await raw(gateway, head(key, "content-encoding: gzip", length), b"x" + packed[1:])
        assert b" 400 " in await raw(gateway, head(key, "content-length: 2"), b"[]")
        assert b" 404 " in await raw(gateway, head(key).replace("/v1/messages", "/v1/files"))
        assert b" 405 " in await raw(gateway, head(key).replace("POST", "DELETE"))
        assert (await gateway.account(key)).count == 0
    assert len(api.journal) == seen


async def test_a_query_goes_on_as_it_came(tmp_path: Path):
    """Not decoded: a line's end or a blank in it would make another request of what the credential goes with."""
    seen = []

    async def be_the_api(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    api = await asyncio.start_server(be_the_api, "127.0.0.1", 0)
    port = api.sockets[0].getsockname()[1]
    query = "beta=true&x=%20HTTP/1.1%0d%0a%0d%0aPOST%20/v1/other?%23"
    async with api, gateway_here(tmp_path, f"http://127.0.0.1:{port}") as gateway:
        body = json.dumps(ask()).encode()
        line = head(gateway.token("plan.one"), f"content-length: {len(body)}", "connection: close")
        await raw(gateway, line.replace("/messages", f"/messages?{query}"), body)
    assert seen == [f"POST /v1/messages?{query} HTTP/1.1\r\n".encode()]


async def test_a_client_that_does_not_read_is_hung_up_on_and_charged(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url, stall_seconds=0.3) as gateway:
        key = gateway.token("plan.one", task_usd=5)
        body = json.dumps(ask(max_tokens=300_000, stream=True)).encode()
        path = str(gateway.layout.gateway.messages)  # its buffers are small
        _, writer = await asyncio.open_unix_connection(path, limit=1024)
        lines = head(key, "anthropic-version: 2023-06-01", f"content-length: {len(body)}")
        writer.write(lines.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(20):
            while not (account := await gateway.account(key)).count:  # noqa: ASYNC110 - seen from outside only
                await asyncio.sleep(0.02)
        writer.close()
    assert account.in_flight == 0
    assert account.entries[0].estimated
    assert 1_000 < account.entries[0].output_tokens < 250_000


async def test_where_the_journal_cannot_be_written_no_call_is_made(tmp_path: Path, api: ScriptedApi, capsys):
    seen = len(api.journal)
    async with gateway_here(tmp_path, api.base_url) as gateway:
        gateway.layout.gateway.usage.write_text("in the way")
        key = gateway.token("plan.one")
        async with gateway.client(key) as client:
            answer = await client.post("/v1/messages", json=ask())
            said = await answer.json()
            assert (answer.status, answer.headers["x-haikud-refusal"]) == (529, "limit")
            assert "journal" in said["error"]["message"]
            assert len(api.journal) == seen
            gateway.layout.gateway.usage.unlink()  # and now there is room
            answer = await client.post("/v1/messages", json=ask())
            assert answer.status == 200
            await answer.read()
        steps = [line.step for line in gateway.journal()]
    assert steps[-2:] == [CallStep.RESERVED, CallStep.USED]
    assert str(tmp_path) in capsys.readouterr().err  # what was refused, and where


async def test_a_gateway_that_nobody_needs_ends(tmp_path: Path, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "FIRST_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.05)
    async with gateway_here(tmp_path, api.base_url) as gateway:
        gateway.token("plan.one")
        attempt = gateway.layout.task("plan.one").attempt(1)
        attempt.folder.mkdir(parents=True)
        runner = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220 - only its pid is needed
        identity = {"pid": runner.pid, "start_time": process_start_time(runner.pid), "boot_id": boot_id()}
        attempt.runner.write_text(json.dumps(identity))
        running = asyncio.create_task(gateway.gateway.run(asyncio.Queue()))
        assert not (await asyncio.wait({running}, timeout=0.5))[0]  # an attempt lives
        with hold_daemon_lock(gateway.layout):
            folder = os.open(gateway.layout.gateway.folder, os.O_PATH)
            _, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/daemon.sock")
            os.close(folder)
            await asyncio.sleep(0.1)
            runner.kill()
            runner.wait()
            assert not (await asyncio.wait({running}, timeout=0.4))[0]  # a daemon is there
            writer.close()
            async with asyncio.timeout(10):
                await running
