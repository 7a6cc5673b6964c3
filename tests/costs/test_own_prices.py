"""Prices that the settings give win, and nothing is imported for a model that has one."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from haikud.contracts.settings import ModelPrice, Settings
from haikud.costs.prices import PriceList, UnknownPrice

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HAIKU, OLD_HAIKU, SONNET = "claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-5-5"
GUIDE = {"haiku": {"input": 0.80, "output": 4.00}, "sonnet": {"input": 3, "output": 15}}


def price(**values: float) -> ModelPrice:
    return ModelPrice.model_validate(values)


def list_of(**values: object) -> PriceList:
    chosen = Settings.model_validate(values)
    return PriceList(chosen.prices_by_id, chosen.sonnet_model)


def test_a_price_of_the_settings_wins_by_name_by_id_and_for_snapshots_of_the_model():
    usage = {"input_tokens": 30_000, "output_tokens": 5_000}
    for model in (HAIKU, f"{HAIKU}-20260917"):
        entry = list_of(prices=GUIDE).price_message(model, usage, AT)
        assert (entry.cost_usd, entry.sonnet_cost_usd, entry.price_version) == (0.044, 0.165, "settings")
    both = list_of(prices={"haiku": {"input": 9, "output": 9}, HAIKU: {"input": 1, "output": 2}})
    assert both.price_message(HAIKU, usage, AT).cost_usd == 0.04
    assert both.price_message(OLD_HAIKU, usage, AT).price_version.startswith("genai-prices ")


def test_cache_classes_follow_from_the_input_price_unless_they_are_given():
    usage = {
        "input_tokens": 1,
        "output_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    }
    derived = PriceList({"m": price(input=0.8, output=4)}).price_message("m", usage, AT)
    assert Decimal(repr(derived.cost_usd)) * 10**6 == Decimal("0.8") * (1 + 100 + 250 + 200) + 40
    given_all = {"input": 0.8, "output": 4, "cache_write_5m": 0.9, "cache_write_1h": 1.1, "cache_read": 0}
    entry = PriceList({"m": price(**given_all)}).price_message("m", usage, AT)
    assert Decimal(repr(entry.cost_usd)) * 10**6 == Decimal("0.8") + 40 + 180 + 110


def test_sonnet_is_the_one_of_the_settings_and_the_default_where_that_has_no_price():
    usage = {"input_tokens": 10_000, "output_tokens": 0}
    for models, dollars in [({"sonnet": "claude-sonnet-4-5"}, 0.03), ({"sonnet": "no-such-model"}, 0.02), ({}, 0.02)]:
        assert list_of(models=models).price_message(OLD_HAIKU, usage, AT).sonnet_cost_usd == dollars


def test_an_unknown_price_says_the_cure():
    with pytest.raises(UnknownPrice) as caught:
        list_of(prices=GUIDE).require_price("my-model")
    assert "prices: {my-model: {input: .., output: ..}}" in str(caught.value)
    assert "update genai-prices" in str(caught.value)
    list_of(prices={"my-model": {"input": 1, "output": 1}}).require_price("my-model")


@pytest.mark.parametrize("wrong", [{"input": 1}, {"input": -1, "output": 1}, {"input": 1, "output": 1, "outptu": 2}])
def test_a_price_that_cannot_be_meant_is_refused(wrong: dict):
    with pytest.raises(ValidationError):
        Settings.model_validate({"prices": {HAIKU: wrong}})


def test_a_misspelt_name_is_refused():
    with pytest.raises(ValidationError, match="'hiaku' is neither a name of `models`"):
        Settings.model_validate({"prices": {"hiaku": {"input": 1, "output": 1}}})
    named = {"models": {"local": "local"}, "prices": {"local": {"input": 1, "output": 1}}}
    assert list(Settings.model_validate(named).prices_by_id) == ["local"]


def test_own_prices_do_without_the_library():
    code = (
        "import sys; from haikud.costs.prices import PriceList; from haikud.contracts.settings import Settings\n"
        f"s = Settings.model_validate({{'prices': {GUIDE!r}}}); prices = PriceList(s.prices_by_id, s.sonnet_model)\n"
        f"prices.load({HAIKU!r}); assert prices.worst_case_cost({HAIKU!r}, 1000, 1000) == 0.005\n"
        "assert 'genai_prices' not in sys.modules\n"
        f"prices.load({OLD_HAIKU!r}); assert 'genai_prices.data' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


LISTS = [
    PriceList(),
    PriceList({HAIKU: price(input=1, output=5)}),
    PriceList({HAIKU: price(input=1, output=5, cache_write_5m=0, cache_write_1h=0.5, cache_read=3)}),
]
TOKENS = st.integers(0, 250_000)


@settings(max_examples=60, deadline=None)
@example(prices=LISTS[0], model=HAIKU, split=(0, 0, 100_000, 0), output=16_000, more=(1, 0))
@given(
    prices=st.sampled_from(LISTS),
    model=st.sampled_from([HAIKU, OLD_HAIKU, SONNET]),
    split=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS),
    output=TOKENS,
    more=st.tuples(TOKENS, TOKENS),
)
def test_no_usage_within_a_worst_case_costs_more(prices, model, split, output, more):
    """Also across the step at 100,000 tokens, where the whole request becomes five times as dear."""
    plain, read, five_minutes, one_hour = split
    usage = {
        "input_tokens": plain,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": five_minutes + one_hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": one_hour},
    }
    context, most = sum(split) + more[0], output + more[1]
    worst = prices.worst_case_cost(model, context, most, AT, one_hour=one_hour > 0)
    assert prices.price_message(model, usage, AT).cost_usd <= worst
    budget = worst * 0.7
    allowed = prices.max_tokens_within(model, context, budget, most, AT, one_hour=one_hour > 0)
    if allowed:
        assert prices.worst_case_cost(model, context, allowed, AT, one_hour=one_hour > 0) <= budget
