"""Prices equal those of genai-prices, and a budget is never crossed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest

from haikud.costs.prices import PriceList, UnknownPrice

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HAIKU = "claude-haiku-5-5"
SONNET = "claude-sonnet-5-5"
LIST = PriceList()
USAGE = {
    "input_tokens": 100,
    "output_tokens": 50,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "service_tier": "standard",
    "server_tool_use": None,
}


def by_genai_prices(model: str, usage: dict) -> Decimal:
    extracted = genai_prices.extract_usage({"model": model, "usage": usage}, provider_id="anthropic")
    return extracted.calc_price(genai_request_timestamp=AT).total_price


def test_a_call_is_priced_as_genai_prices_prices_it_to_the_last_digit():
    entry = LIST.price_message(HAIKU, USAGE, AT, "req_1")
    whole = {name: value for name, value in USAGE.items() if value is not None}
    assert Decimal(repr(entry.cost_usd)) == by_genai_prices(HAIKU, whole)
    assert Decimal(repr(entry.sonnet_cost_usd)) == by_genai_prices("claude-sonnet-5-5", whole)
    assert entry.price_version == f"genai-prices {genai_prices.__version__}"
    assert entry.tokens_used == 100 + 50 + 300 + 1000
    assert (entry.cache_write_5m_tokens, entry.cache_write_1h_tokens) == (200, 100)


@pytest.mark.parametrize(
    ("model", "dollars"),
    [("claude-haiku-5-5", 0.60), ("claude-haiku-4-5", 6.0), ("claude-sonnet-5-5", 12.0)],
)
def test_list_prices(model: str, dollars: float):
    requests = 100  # each of 10,000 in and out, below every length limit
    entry = LIST.price_message(model, {"input_tokens": 10_000, "output_tokens": 10_000}, AT)
    assert entry.cost_usd * requests == pytest.approx(dollars)


def test_a_long_request_costs_more_as_a_whole():
    short = LIST.price_message(HAIKU, {"input_tokens": 100_000, "output_tokens": 1000}, AT).cost_usd
    long = LIST.price_message(HAIKU, {"input_tokens": 100_001, "output_tokens": 1000}, AT).cost_usd
    assert short == pytest.approx(0.0105)
    assert long == pytest.approx(0.0525005)


def test_unsplit_cache_writes_count_as_five_minute_ones():
    entry = LIST.price_message(HAIKU, {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 400}, AT)
    assert entry.cache_write_5m_tokens == 400
    assert entry.cost_usd == pytest.approx((1 * 0.10 + 1 * 0.50 + 400 * 0.125) / 1e6)


def test_an_unknown_model_has_no_price():
    with pytest.raises(UnknownPrice, match="claude-nonesuch"):
        LIST.require_price("claude-nonesuch")
    with pytest.raises(UnknownPrice):
        LIST.price_message("claude-nonesuch", {"input_tokens": 1, "output_tokens": 1}, AT)
    LIST.require_price("claude-haiku-4-5-20251001")


@pytest.mark.parametrize("budget", [0.001, 0.0123456, 0.05, 0.5])
@pytest.mark.parametrize("context", [0, 1, 5000, 99_999, 100_001, 400_000])
def test_the_longest_answer_within_a_budget_is_exactly_the_longest(context: int, budget: float):
    allowed = LIST.max_tokens_within(HAIKU, context, budget, 10**9)
    if allowed:
        assert LIST.worst_case_cost(HAIKU, context, allowed) <= budget
    assert LIST.worst_case_cost(HAIKU, context, allowed + 1) > budget


def test_the_ceiling_holds_and_nothing_fits_into_nothing():
    assert LIST.max_tokens_within(HAIKU, 1000, 100.0, 16_000) == 16_000
    assert LIST.max_tokens_within(HAIKU, 1000, 0.0, 16_000) == 0
    assert LIST.max_tokens_within(HAIKU, 1000, -1.0, 16_000) == 0
