"""A mixed run is priced as genai-prices prices each of its answers, to the last digit, and so is the sum.

tests/data/usage/mixed.jsonl holds usages in the API's form: short requests, some at and beyond the step at 100,000
tokens, cache writes for five minutes and an hour, cache reads, web searches.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
import pytest

from haikud.contracts.usage import UsageTotal
from haikud.costs.prices import PriceList

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
MIXED = Path(__file__).resolve().parents[1] / "data" / "usage" / "mixed.jsonl"
USAGES = [json.loads(line) for line in MIXED.read_text(encoding="utf-8").splitlines()]


def by_genai_prices(model: str, usage: dict) -> Decimal:
    extracted = genai_prices.extract_usage({"model": model, "usage": usage}, provider_id="anthropic")
    return extracted.calc_price(genai_request_timestamp=AT).total_price


@pytest.mark.parametrize("model", [HAIKU, "claude-haiku-4-5", SONNET])
def test_every_answer_and_the_sum_equal_genai_prices(model: str):
    prices, total, expected, by_sonnet = PriceList(), UsageTotal(), Decimal(0), Decimal(0)
    for usage in USAGES:
        entry = prices.price_message(model, usage, AT)
        assert Decimal(repr(entry.cost_usd)) == by_genai_prices(model, usage), usage
        assert Decimal(repr(entry.sonnet_cost_usd)) == by_genai_prices(SONNET, usage), usage
        total = total.plus_entry(entry)
        expected += by_genai_prices(model, usage)
        by_sonnet += by_genai_prices(SONNET, usage)
    assert Decimal(repr(total.cost_usd)) == expected
    assert Decimal(repr(total.sonnet_cost_usd)) == by_sonnet
    assert len(USAGES) == total.requests == 40


def test_the_run_is_a_mixed_one():
    def context(usage: dict) -> int:
        classes = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return sum(usage[name] for name in classes)

    assert {context(usage) > 100_000 for usage in USAGES} == {True, False}
    for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"):
        assert any(usage["cache_creation"][name] for usage in USAGES)
    assert any(usage["cache_read_input_tokens"] for usage in USAGES)


def test_passes_that_the_api_bills_beside_the_answer_are_paid_too():
    """A compaction read 180,000 tokens; the fields at the top count the answer's own 23,000 alone."""
    answer = {"input_tokens": 23_000, "output_tokens": 1000}
    compaction = {"input_tokens": 180_000, "output_tokens": 3500}
    advice = {"input_tokens": 500, "output_tokens": 200}
    usage = {
        **answer,
        "iterations": [
            {"type": "compaction", **compaction},
            {"type": "message", **answer},
            {"type": "advisor_message", "model": SONNET, **advice},
        ],
    }
    entry = PriceList().price_message(HAIKU, usage, AT)
    expected = by_genai_prices(HAIKU, answer) + by_genai_prices(HAIKU, compaction) + by_genai_prices(SONNET, advice)
    assert Decimal(repr(entry.cost_usd)) == expected
    assert (entry.context_tokens, entry.tokens_used) == (23_000, 23_000 + 1000 + 180_000 + 3500 + 500 + 200)
    unknown = {
        "input_tokens": 1,
        "output_tokens": 1,
        "iterations": [{"type": "advisor_message", "model": "x", **advice}],
    }
    assert PriceList().price_message(HAIKU, unknown, AT).cost_usd > 0


@pytest.mark.parametrize(
    "odd",
    [
        {"input_tokens": "many"},
        {"input_tokens": True},
        {"input_tokens": 10**400},
        {"output_tokens": -5},
        {"cache_read_input_tokens": 1.5},
        {"cache_creation": [1]},
        {"cache_creation": {"ephemeral_5m_input_tokens": "1"}},
        {"iterations": [{"type": "compaction", "input_tokens": "1"}]},
    ],
)
def test_a_count_that_is_none_is_not_taken_for_nothing(odd: dict):
    with pytest.raises(ValueError, match="usage of an answer"):
        PriceList().price_message(HAIKU, {"input_tokens": 1, "output_tokens": 1, **odd}, AT)


def test_other_odd_fields_cost_nothing():
    usage = {"input_tokens": 1, "output_tokens": 1}
    odd = {"server_tool_use": "none", "output_tokens_details": 3, "speed": 9, "service_tier": ["batch"]}
    for more in (odd, {"iterations": {"type": "compaction"}}, {"iterations": ["x", {"type": 7}]}):
        assert PriceList().price_message(HAIKU, {**usage, **more}, AT).cost_usd == 0.0000006


def test_turns_of_the_servers_own_tools_are_billed_once_and_are_no_context():
    first, last = {"input_tokens": 1000, "output_tokens": 30}, {"input_tokens": 1800, "output_tokens": 50}
    whole = {"input_tokens": 2800, "output_tokens": 80}
    iterations = [{"type": "message", **first}, {"type": "message", **last}]
    entry = PriceList().price_message(HAIKU, {**whole, "iterations": iterations}, AT)
    assert Decimal(repr(entry.cost_usd)) == by_genai_prices(HAIKU, whole)
    assert (entry.context_tokens, entry.tokens_used) == (1800, 2880)


def test_a_batch_is_half_price_and_the_fast_mode_its_own():
    usage = {"input_tokens": 1000, "output_tokens": 1000}
    prices = PriceList()
    standard = prices.price_message(HAIKU, usage, AT).cost_usd
    assert prices.price_message(HAIKU, {**usage, "service_tier": "batch"}, AT).cost_usd == standard / 2
    assert prices.price_message(HAIKU, {**usage, "service_tier": "priority"}, AT).cost_usd == standard
    fable = prices.price_message("claude-fable-5-2", usage, AT).cost_usd
    assert prices.price_message("claude-fable-5-2", {**usage, "speed": "fast"}, AT).cost_usd == 2 * fable


def test_no_class_of_input_is_dearer_than_the_one_that_worst_cases_count():
    """For every model of the API that genai-prices knows."""
    from genai_prices.data import providers

    for model in next(one for one in providers if one.id == "anthropic").models:
        for context in (1000, 100_001, 200_001):
            classes = {
                "input_tokens": {"input_tokens": context},
                "reads": {"cache_read_input_tokens": context},
                "5m": {"cache_creation_input_tokens": context},
            }
            for usage in classes.values():
                cost = float(by_genai_prices(model.id, {"input_tokens": 0, "output_tokens": 7, **usage}))
                assert cost <= PriceList().worst_case_cost(model.id, context, 7, AT)
                assert cost <= PriceList().worst_case_cost(model.id, context, 7, AT, one_hour=True)
