"""A budget of 0.05 USD is never crossed, whatever is called, cut or killed: property tests.

What a call has truly cost is told by the scripted API's own journal: the usage that it reported, or, where it or its
client cut the stream, what it had really sent, all priced by genai-prices.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import genai_prices
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.gateway_here import VERSION, ask, gateway_here
from tests.support.gateway_process import GatewayProcess

from haikud.contracts.usage_journal import CallStep
from haikud.costs.tokens import estimate_tokens
from haikud.offline.answer import CHUNK, MOST_CHUNKS
from haikud.offline.journal import Exchange
from haikud.offline.server import ScriptedApi
from haikud.spool.layout import SpoolLayout
from haikud.spool.usage_journal import read_charges

LIMIT = 0.05
MODEL = "claude-haiku-4-5"  # dear enough: a thousand tokens of output are a tenth of the budget
ATTEMPTS = ("one.a", "one.b", "two")

FAULTS: dict[str, dict[str, Any] | None] = {
    "whole": None,
    "cut": {"kind": "cut", "after_events": 9},
    "cut at once": {"kind": "cut", "after_events": 0},
    "truncate": {"kind": "truncate", "after_events": 12},
    "corrupt": {"kind": "corrupt", "after_events": 5},
    "error": {"kind": "error_event", "after_events": 7},
    "silent": {"kind": "delay", "delay_seconds": 30},
    "hangs": {"kind": "stall", "after_events": 8, "seconds": 30},
    "busy": {"kind": "status", "status": 529},
    "broken": {"kind": "status", "status": 500},
}
HUNG_UP_ON = ("silent", "hangs")


def scenario() -> dict[str, Any]:
    conversations = []
    for name, fault in FAULTS.items():
        turn: dict[str, Any] = {"text": f"{name} word " * 300}
        if fault is not None:
            turn["fault"] = {**fault, "times": None}
        conversations.append({"name": name, "match": {"first_message": f"^{name}:"}, "turns": [turn]})
    return {"name": "faults", "conversations": conversations}


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(scenario()) as one:
        yield one


@dataclass(frozen=True)
class Move:
    """One call of a script that does not care for budgets."""

    attempt: str
    what: str
    stream: bool
    max_tokens: int
    words: int

    @property
    def body(self) -> dict[str, Any]:
        text = f"{self.what}: " + "x1 " * self.words
        return ask(text, model=MODEL, max_tokens=self.max_tokens, stream=self.stream)


moves = st.builds(
    Move,
    attempt=st.sampled_from(ATTEMPTS),
    what=st.sampled_from([*FAULTS, "whole", "whole", "whole"]),
    stream=st.booleans(),
    max_tokens=st.sampled_from([1, 300, 2_000, 16_000]),
    words=st.sampled_from([1, 1_000, 12_000]),
)
rounds = st.lists(st.lists(moves, min_size=1, max_size=6), min_size=2, max_size=5)


def truly_cost(exchange: Exchange) -> Decimal:
    """In US dollars. An answer that broke cost its input, where it began, and what of its output went out."""
    if exchange.path != "/v1/messages" or exchange.usage is None:
        return Decimal(0)
    usage = dict(exchange.usage)
    if not exchange.complete and exchange.fault != "corrupt":
        if not exchange.events_sent:
            return Decimal(0)
        text = exchange.answer["content"][0]["text"] if exchange.answer and "content" in exchange.answer else ""
        size = max(CHUNK, -(-len(text) // MOST_CHUNKS))
        sent = text[: max(0, exchange.events_sent - 3) * size]
        usage["output_tokens"] = estimate_tokens(sent) or 1
    extracted = genai_prices.extract_usage({"model": MODEL, "usage": usage}, provider_id="anthropic")
    return extracted.calc_price().total_price


async def make(base_url: str, key: str, move: Move, *, hang_up: bool = True) -> int:
    """One call; its status, 0 where the connection broke. What never ends is hung up on."""
    patience = 0.15 if hang_up and move.what in HUNG_UP_ON else 60
    try:
        async with (
            asyncio.timeout(patience),
            aiohttp.ClientSession(headers={"x-api-key": key, **VERSION}) as client,
            client.post(f"{base_url}/v1/messages", json=move.body) as answer,
        ):
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


async def play(tmp: Path, api: ScriptedApi, script: list[list[Move]]) -> None:
    before = len(api.journal)
    limits = {"task_usd": LIMIT, "plan_usd": LIMIT * 1.5, "day_usd": LIMIT * 2}
    async with gateway_here(tmp, api.base_url, quota_wait_seconds=0.1, stall_seconds=3) as gateway:
        keys = {ref: gateway.token(ref, models=[MODEL], **limits) for ref in ATTEMPTS}
        for together in script:
            await asyncio.gather(*(make(gateway.base_url, keys[move.attempt], move) for move in together))
        for key in keys.values():
            async with asyncio.timeout(10):
                while (account := await gateway.account(key)).in_flight:  # noqa: ASYNC110 - seen from outside only
                    await asyncio.sleep(0.01)
            assert account.total.cost_usd <= LIMIT
            assert account.left_usd >= -1e-9
    check(api.journal[before:], tmp / "spool")


def check(exchanges: list[Exchange], spool: Path) -> None:
    """By the API's own journal, no limit was crossed, and the books never say less than the truth."""
    true = sum((truly_cost(one) for one in exchanges), Decimal(0))
    charges = list(read_charges(SpoolLayout(spool).gateway))
    booked = sum(charge.entry.cost_usd for charge in charges)
    assert float(true) <= LIMIT * 2
    assert float(true) <= booked + 1e-9
    by_id = {charge.entry.request_id: charge.entry for charge in charges if charge.entry.request_id}
    for ref in ATTEMPTS:
        ids = {charge.entry.request_id for charge in charges if charge.line.ref == ref and charge.entry.request_id}
        assert sum(truly_cost(one) for one in exchanges if one.request_id in ids) <= Decimal(str(LIMIT))
    for exchange in exchanges:
        if exchange.complete and exchange.usage and exchange.request_id in by_id:
            entry = by_id[exchange.request_id]
            assert entry.cost_usd == float(truly_cost(exchange))
            assert not entry.estimated


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=rounds)
def test_no_sequence_of_calls_crosses_it(api: ScriptedApi, script: list[list[Move]]):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), api, script))


async def test_a_script_that_only_wants_much_gets_no_more_than_that(tmp_path: Path, api: ScriptedApi):
    greedy = [Move(ref, "whole", stream, 16_000, 1) for ref in ATTEMPTS for stream in (True, False)] * 6
    before = len(api.journal)
    await play(tmp_path, api, [greedy, greedy])
    made = [one for one in api.journal[before:] if one.usage]
    assert len(made) > 10  # it was the budget that stopped it, and not the first refusal
    assert sum(truly_cost(one) for one in made) > Decimal("0.05")  # of 0.10


async def test_the_same_across_kills_of_the_gateway(tmp_path: Path, api: ScriptedApi):
    before = len(api.journal)
    limits = {"task_usd": LIMIT, "plan_usd": LIMIT * 1.5, "day_usd": LIMIT * 2}
    with GatewayProcess(tmp_path / "spool", api.base_url, quota_wait_seconds=0.1) as gateway:
        keys = {ref: gateway.token(ref, models=[MODEL], **limits) for ref in ATTEMPTS}
        for delay in (0.0, 0.1):
            calls = [
                asyncio.create_task(make(gateway.base_url, keys[ref], Move(ref, what, stream, 2_000, 1), hang_up=False))
                for ref in ATTEMPTS
                for what in ("whole", "hangs", "cut", "whole")
                for stream in (True, False)
            ]
            async with asyncio.timeout(60):  # until one is surely under way, whose end will be missing
                while not any(one.events_sent for one in api.journal[before:] if one.conversation == "hangs"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(delay)
            gateway.kill()
            await asyncio.to_thread(gateway.start)
            await asyncio.gather(*calls)
        used = await asyncio.gather(
            *(make(gateway.base_url, keys[ref], Move(ref, "whole", True, 2_000, 1)) for ref in ATTEMPTS * 6)
        )
        assert 402 in used
        steps = [line.step for line in gateway.journal()]
        assert CallStep.LOST in steps
        names = [(line.call, line.step is CallStep.RESERVED) for line in gateway.journal()]
        assert len(names) == len(set(names))  # no call is told twice
        assert steps.count(CallStep.RESERVED) * 2 == len(steps)  # and each has its end
    check(api.journal[before:], tmp_path / "spool")
