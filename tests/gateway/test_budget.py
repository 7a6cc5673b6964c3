"""Budgets hold: what is reserved bounds what a call can cost, and no sequence of calls crosses a limit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway_here import MODEL, ask, gateway_here, says

from haikud.contracts.base import utc_now
from haikud.contracts.usage_journal import CallStep
from haikud.costs.prices import PriceList
from haikud.offline.scenario import StallFault
from haikud.offline.server import ScriptedApi

PRICES = PriceList()


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(says("word " * 4_000)) as one:  # 5,000 tokens
        yield one


def messages_asked(api: ScriptedApi) -> list[dict[str, Any]]:
    return [one.body for one in api.journal if one.path == "/v1/messages"]


async def test_the_output_is_clamped_to_what_is_left(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", task_usd=0.0012)
        async with gateway.client(key) as client:
            first = await client.post("/v1/messages", json=ask(max_tokens=16_000))
            said = await first.json()
            second = await client.post("/v1/messages", json=ask(max_tokens=16_000))
            error = await second.json()
        account = await gateway.account(key)
    (sent,) = messages_asked(api)
    assert first.status == 200
    assert first.headers["x-haikud-max-tokens"] == str(sent["max_tokens"])
    assert said["stop_reason"] == "max_tokens"
    assert 2_000 < sent["max_tokens"] < 2_400
    assert second.status == 402
    assert (second.headers["x-haikud-refusal"], second.headers["x-haikud-budget"]) == ("budget", "task")
    assert second.headers["x-should-retry"] == "false"
    assert error["error"]["type"] == "billing_error"
    assert "this task's budget has 0.00" in error["error"]["message"]
    assert account.refused is not None
    assert account.refused.purse == "task"
    assert account.total.cost_usd <= 0.0012


async def test_a_long_input_is_counted_before_it_is_called_too_dear(tmp_path: Path, api: ScriptedApi):
    text = "x" * 120_000  # a token for each byte would cost 0.076, for it would be a long request
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", task_usd=0.02)
        async with gateway.client(key) as client:
            answers = [await client.post("/v1/messages", json=ask(text)) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert [one.path for one in api.journal].count("/v1/messages/count_tokens") == 1  # the same bytes, counted once
    reserved = [line.entry for line in gateway.journal() if line.step is CallStep.RESERVED and line.entry]
    used = [line.entry for line in gateway.journal() if line.step is CallStep.USED and line.entry]
    assert all(most.cost_usd >= true.cost_usd for most, true in zip(reserved, used, strict=True))


async def test_what_asks_for_more_than_anybody_needs_is_clamped_without_counting(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(max_tokens=128_000)) as answer:
            await answer.read()
    assert answer.status == 200
    assert 90_000 < int(answer.headers["x-haikud-max-tokens"]) < 100_000
    assert [one.path for one in api.journal] == ["/v1/messages"]


async def test_a_call_waits_for_what_others_hold_rather_than_be_refused(tmp_path: Path, api: ScriptedApi):
    api.inject(StallFault(kind="stall", after_events=3, seconds=1.5))
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", task_usd=0.0085)
        async with gateway.client(key) as client:
            first = await client.post("/v1/messages", json=ask(max_tokens=16_000, stream=True))
            began = time.monotonic()
            second = await client.post("/v1/messages", json=ask(max_tokens=1_000))
            await asyncio.gather(first.read(), second.read())
    assert (first.status, second.status) == (200, 200)
    assert float(second.headers["x-haikud-waited"]) > 0.2
    assert time.monotonic() - began > 0.3


async def test_whoever_hangs_up_while_it_waits_leaves_nothing(tmp_path: Path, api: ScriptedApi):
    api.inject(StallFault(kind="stall", after_events=3, seconds=2))
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", task_usd=0.0085)
        async with gateway.client(key) as client:
            first = await client.post("/v1/messages", json=ask(max_tokens=16_000, stream=True))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.post("/v1/messages", json=ask(max_tokens=1_000))
            await first.read()
        account = await gateway.account(key)
    assert len(messages_asked(api)) == 1
    assert (account.count, account.in_flight) == (1, 0)


async def test_the_days_budget_says_that_it_is_the_days(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", day_usd=0.0001)
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask()) as answer:
            await answer.read()
    assert (answer.status, answer.headers["x-haikud-budget"]) == (402, "day")
    assert messages_asked(api) == []


async def test_a_model_without_a_price_is_refused_with_the_cure(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one", models=[])
        async with gateway.client(key) as client:
            answer = await client.post("/v1/messages", json=ask(model="home-made-1"))
            said = await answer.json()
    assert (answer.status, answer.headers["x-haikud-refusal"]) == (400, "price")
    assert "prices: {home-made-1:" in said["error"]["message"]
    assert MODEL not in json.dumps(said)


async def test_what_an_earlier_gateway_and_the_engine_know_counts(tmp_path: Path, api: ScriptedApi):
    async with gateway_here(tmp_path, api.base_url) as gateway:
        key = gateway.token("plan.one")
        async with gateway.client(key) as client, client.post("/v1/messages", json=ask(max_tokens=4_000)) as answer:
            await answer.read()
        before = await gateway.account(key)
    async with gateway_here(tmp_path, api.base_url) as gateway:
        after = await gateway.account(key)
        told = await gateway.account(gateway.token("plan.two", task_spent_usd=0.04))
    assert after.entries == before.entries
    assert after.left_usd == pytest.approx(before.left_usd)
    assert told.left_usd == pytest.approx(0.01)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 1},
        {"cache_creation_input_tokens": 1},
        {"cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 1}},
        {"cache_read_input_tokens": 1},
    ],
    ids=lambda usage: list(usage)[-1],
)
@pytest.mark.parametrize("tokens", [1, 50_000, 99_999, 100_000, 100_001, 400_000])
@pytest.mark.parametrize("model", [MODEL, "claude-haiku-4-5", "claude-sonnet-5-5"])
def test_no_class_of_input_is_dearer_than_the_worst_case(usage: dict[str, Any], tokens: int, model: str):
    def scaled(value: Any) -> Any:
        return {name: scaled(one) for name, one in value.items()} if isinstance(value, dict) else value * tokens

    used = scaled(usage) | {"output_tokens": 300}
    true = PRICES.price_message(model, used, utc_now()).cost_usd
    assert true <= PRICES.worst_case_cost(model, tokens, 300, one_hour="cache_creation" in usage) + 1e-12
