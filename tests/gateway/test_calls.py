"""Calls through the gateway: what passes, what is metered, what the books say of it. Real sockets, a scripted API."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest
from tests.support.gateway_here import MODEL, ask, events_in, gateway_here, says
from tests.support.gateway_process import CREDENTIAL

from haikud.contracts.usage_journal import CallStep
from haikud.costs.prices import PriceList
from haikud.offline.scenario import CorruptFault, CutFault, ErrorEventFault, StallFault, StatusFault, TruncateFault
from haikud.offline.server import ScriptedApi


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(says("a word and another " * 20)) as one:
        yield one


async def test_a_whole_answer_passes_unchanged_and_is_booked_first(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key, over_socket=True) as client:
            answer = await client.post("/v1/messages?beta=true", json=ask())
            body = await answer.json()
        exchange = api.journal[-1]
        assert body == exchange.answer
        assert answer.headers["request-id"] == exchange.request_id
        account = await gateway.account(key)
    assert account.count == 1
    price = PriceList().price_message(MODEL, exchange.usage or {}, account.entries[0].at, exchange.request_id)
    assert account.entries == [price]
    assert [line.step for line in gateway.journal()] == [CallStep.RESERVED, CallStep.USED]
    assert exchange.headers["accept-encoding"] == "identity"


async def test_a_stream_is_in_the_account_when_its_end_is_seen(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(stream=True)) as answer:
            data = b""
            while b"message_delta" not in data:
                data += await answer.content.readany()
            account = await gateway.account(key)  # the answer has not been read to its end
            data += await answer.content.read()
        exchange = api.journal[0]
    assert events_in(data)[-1] == {"type": "message_stop"}
    assert [entry.output_tokens for entry in account.entries] == [(exchange.usage or {})["output_tokens"]]
    assert not account.entries[0].estimated
    assert account.in_flight == 0


async def test_the_sdk_works_through_it(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with anthropic.AsyncAnthropic(api_key=key, base_url=gateway.base_url, max_retries=0) as client:
            async with client.messages.stream(**ask()) as stream:
                message = await stream.get_final_message()
            counted = await client.messages.count_tokens(model=MODEL, messages=ask()["messages"])
        account = await gateway.account(key)
    assert message.stop_reason == "end_turn"
    assert counted.input_tokens > 0
    assert account.count == 1  # counting is free
    assert account.total.output_tokens == message.usage.output_tokens


async def test_curl_works_through_it_and_sees_no_credential(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        command = [
            "curl",
            "-sS",
            "-i",
            "--unix-socket",
            str(gateway.layout.gateway.messages),
            "http://haikud/v1/messages",
        ]
        headers = ["-H", f"Authorization: Bearer {key}", "-H", "anthropic-version: 2023-06-01"]
        body = '{"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}'
        said = await asyncio.to_thread(
            subprocess.run, [*command, *headers, "-d", body], capture_output=True, text=True, timeout=30
        )
    assert "HTTP/1.1 200" in said.stdout
    assert CREDENTIAL not in said.stdout
    assert key not in str(api.journal)


@pytest.mark.parametrize(
    "fault",
    [
        CutFault(kind="cut", after_events=6),
        StallFault(kind="stall", after_events=6, seconds=30),
        TruncateFault(kind="truncate", after_events=6),
        ErrorEventFault(kind="error_event", after_events=6),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_stream_that_breaks_is_charged_for_what_was_seen(tmp_path: Path, api: ScriptedApi, fault):
    api.inject(fault)
    async with gateway_here(tmp_path, api.base_url, stall_seconds=0.3) as gateway:
        key = gateway.token("plan.one")
        data, broke = b"", False
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(stream=True)) as answer:
            try:
                async for piece in answer.content.iter_any():
                    data += piece
            except Exception:  # noqa: BLE001 - however a client notices
                broke = True
        account = await gateway.account(key)
    assert broke == (fault.kind in {"cut", "stall"})
    assert len([event for event in events_in(data) if event["type"] != "error"]) == 6
    (entry,) = account.entries
    assert entry.estimated
    usage = api.journal[0].usage or {}
    assert entry.input_tokens == usage["input_tokens"]
    assert 1 < entry.output_tokens < usage["output_tokens"] * 4 / 3
    assert account.estimated_usd == entry.cost_usd > 0


async def test_an_event_that_is_no_json_changes_nothing_of_the_count(tmp_path: Path, api: ScriptedApi):
    api.inject(CorruptFault(kind="corrupt", after_events=4))
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(stream=True)) as answer:
            await answer.read()
        account = await gateway.account(key)
    assert [entry.estimated for entry in account.entries] == [False]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_api_refuses_costs_nothing_and_passes(tmp_path: Path, api: ScriptedApi, stream: bool):
    api.inject(StatusFault(kind="status", status=500, message="boom"))
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(stream=stream)) as answer:
            body = await answer.json()
        account = await gateway.account(key)
    assert answer.status == 500
    assert body["error"] == {"type": "api_error", "message": "boom"}
    assert (account.count, account.in_flight, account.left_usd) == (0, 0, pytest.approx(0.05))
    assert [line.step for line in gateway.journal()] == [CallStep.RESERVED, CallStep.RELEASED]


async def test_a_429_is_waited_out_in_place(tmp_path: Path, api: ScriptedApi):
    api.inject(StatusFault(kind="status", status=429, retry_after=1))
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask()) as answer:
            await answer.read()
    assert answer.status == 200
    assert float(answer.headers["x-haikud-waited"]) >= 0.9
    assert [line.step for line in gateway.journal()] == [CallStep.RESERVED, CallStep.USED]


async def test_a_limit_that_lasts_is_told_and_noted(tmp_path: Path, api: ScriptedApi):
    api.inject(StatusFault(kind="status", status=429, retry_after=40))
    async with gateway_here(tmp_path, api.base_url, quota_wait_seconds=1.0) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client:
            first = await client.post("/v1/messages", json=ask())
            second = await client.post("/v1/messages", json=ask())
        account = await gateway.account(key)
    assert [first.status, second.status] == [429, 429]
    assert second.headers["x-haikud-refusal"] == "limit"
    assert 30 < int(second.headers["retry-after"]) <= 41
    assert len(api.journal) == 1
    assert account.refused is not None
    assert account.refused.refusal == "limit"
    assert account.count == 0


async def test_a_silent_api_is_a_504_and_its_input_is_charged(tmp_path: Path, api: ScriptedApi):
    api.inject(StallFault(kind="stall", seconds=30, delay_seconds=30))
    async with gateway_here(tmp_path, api.base_url, stall_seconds=0.2) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(stream=True)) as answer:
            await answer.read()
        account = await gateway.account(key)
    assert (answer.status, answer.headers["x-haikud-refusal"]) == (504, "stalled")
    assert [(entry.estimated, entry.input_tokens > 0) for entry in account.entries] == [(True, True)]


async def test_an_api_that_is_not_there_costs_nothing(tmp_path: Path):
    async with gateway_here(tmp_path, "http://127.0.0.1:9", quota_wait_seconds=0.2) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask()) as answer:
            await answer.read()
        account = await gateway.account(key)
    assert (answer.status, answer.headers["x-haikud-refusal"]) == (502, "unreachable")
    assert (account.count, account.in_flight) == (0, 0)


async def test_a_client_that_hangs_up_ends_the_call_upstream(tmp_path: Path, api: ScriptedApi):
    api.inject(StallFault(kind="stall", after_events=5, seconds=30))
    async with gateway_here(tmp_path, api.base_url, stall_seconds=60) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client:
            answer = await client.post("/v1/messages", json=ask(stream=True))
            await answer.content.readany()
            answer.close()
        async with asyncio.timeout(10):
            while (account := await gateway.account(key)).count == 0:  # noqa: ASYNC110 - seen from outside only
                await asyncio.sleep(0.01)
    assert account.entries[0].estimated
    assert account.entries[0].input_tokens == (api.journal[0].usage or {})["input_tokens"]
