"""A token is good for its attempt, while that lives, and for nothing else."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway_here import GatewayHere, ask, gateway_here, says
from tests.support.waiting import wait_until

from haikud.gateway.tokens import Tokens
from haikud.offline.server import ScriptedApi
from haikud.spool.claims import boot_id, process_start_time, take_claim
from haikud.spool.layout import SpoolLayout


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(says()) as one:
        yield one


async def status_of(gateway: GatewayHere, key: str) -> tuple[int, str | None]:
    async with gateway.client(key) as client, client.post("/v1/messages", json=ask()) as answer:
        await answer.read()
        return answer.status, answer.headers.get("x-haikud-refusal")


async def test_only_the_token_of_a_live_attempt_is_good(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        good, other = gateway.token("plan.one"), gateway.token("plan.two")
        assert (await status_of(gateway, good))[0] == 200
        seen = len(api.journal)
        refused = [
            "",
            "sk-ant-api03-a-key-of-the-api",
            good[:-1] + ("0" if good[-1] != "0" else "1"),
            good.replace("plan.one", "plan.two"),
            other.replace("plan.two", "plan.one"),
            good.replace(".1.", ".2."),
            good + "0",
            good.upper(),
            "haikud.../../../etc/passwd.1." + "0" * 64,
            "haikud.plan/../x.1." + "0" * 64,
        ]
        for key in refused:
            assert await status_of(gateway, key) == (401, "token"), key
        gateway.layout.gateway.token("plan.one", 1).unlink()
        assert await status_of(gateway, good) == (401, "token")
        assert (await status_of(gateway, other))[0] == 200
        assert len(api.journal) == seen + 1


async def test_a_files_place_says_whose_it_is(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        files = gateway.layout.gateway
        stolen = key.replace("plan.one", "plan.two")
        files.token("plan.two", 1).write_bytes(files.token("plan.one", 1).read_bytes())
        assert await status_of(gateway, stolen) == (401, "token")
        files.token("plan.two", 1).unlink()
        files.token("plan.two", 1).symlink_to(files.token("plan.one", 1))
        assert await status_of(gateway, stolen) == (401, "token")
        files.token("plan.one", 1).write_text("{}")
        assert await status_of(gateway, key) == (401, "token")


async def test_nothing_follows_a_refused_token_on_its_connection(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        good = gateway.token("plan.one")
        host, port = gateway.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(ask())
        for key in ("bad", good):
            writer.write(
                f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}".encode()
            )
        said = await reader.read()
        writer.close()
    assert said.count(b"HTTP/1.1") == 1
    assert b"401" in said


async def test_a_token_dies_with_its_runner(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        attempt = gateway.layout.task("plan.one").attempt(1)
        attempt.folder.mkdir(parents=True)
        with subprocess.Popen(["sleep", "60"]) as runner:  # noqa: ASYNC220 - only its pid is needed
            identity = {"pid": runner.pid, "start_time": process_start_time(runner.pid), "boot_id": boot_id()}
            attempt.runner.write_text(json.dumps(identity))
            assert (await status_of(gateway, key))[0] == 200
            runner.kill()
        async with asyncio.timeout(10):
            while await status_of(gateway, key) != (401, "token"):  # noqa: ASYNC110 - seen from outside only
                await asyncio.sleep(0.05)


def test_attempts_that_may_live_are_seen_without_taking_a_lock(tmp_path: Path):
    layout = SpoolLayout(tmp_path)
    tokens, attempt = Tokens(layout), layout.task("plan.one").attempt(1)
    assert not tokens.any_live()
    layout.gateway.tokens.mkdir(parents=True)
    layout.gateway.token("plan.one", 1).write_text("{}")
    attempt.folder.mkdir(parents=True)
    assert not tokens.any_live()
    holder = subprocess.Popen(["flock", "--no-fork", attempt.claim, "sleep", "60"])
    try:
        wait_until(tokens.any_live, what="the claim of a runner that is starting")
        assert take_claim(attempt.claim) is None
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: not tokens.any_live(), what="its end")
    identity = {"pid": 1, "start_time": process_start_time(1), "boot_id": boot_id()}
    attempt.runner.write_text(json.dumps(identity))
    assert tokens.any_live()
