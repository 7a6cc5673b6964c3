"""What a main agent says of its own tokens is priced here; nothing that it writes there costs a plan."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.settings import Settings
from haikud.costs.main_agent import read_main_agent

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
USED = {"input_tokens": 10_000, "output_tokens": 2_000}


def read(stated: Any, **settings: Any) -> tuple[MainAgentCost | None, list[str]]:
    return read_main_agent({"main_agent": stated}, Settings.model_validate(settings), AT)


@pytest.mark.parametrize(
    ("model", "settings", "cost", "version"),
    [
        ("sonnet", {}, 0.04, "genai"),  # a name of `models`
        ("sonnet", {"prices": {"sonnet": {"input": 3, "output": 15}}}, 0.06, "settings"),
        ("sonnet-4.5", {}, 0.06, "genai"),  # the guide's own word
        ("sonnet-4.5", {"prices": {"sonnet-4.5": {"input": 1, "output": 1}}}, 0.012, "settings"),
        ("claude-opus-5-5", {}, 0.08, "genai"),
        (" my-planner ", {"models": {"my-planner": "claude-haiku-4-5"}}, 0.02, "genai"),
    ],
)
def test_its_tokens_are_priced_by_name_or_id(model: str, settings: dict, cost: float, version: str):
    main, warnings = read({"model": model, **USED, "cost_usd": 99.0}, **settings)
    assert main is not None
    assert (main.cost_usd, main.reported, warnings) == (cost, False, [])
    assert (main.model, main.input_tokens, main.output_tokens) == (model.strip(), 10_000, 2_000)
    assert main.price_version.startswith(version)


def test_input_is_of_every_class_and_priced_by_class():
    cached = {"cache_read_input_tokens": 50_000, "cache_creation_input_tokens": 4_000}
    main, _ = read({"model": "claude-sonnet-4-5", **USED, **cached})
    assert main is not None
    assert main.input_tokens == 64_000
    assert main.cost_usd == 0.03 + 0.03 + 0.015 + 0.015
    assert main.sonnet_cost_usd == 0.02 + 0.02 + 0.005 + 0.01


def test_where_no_price_is_known_its_own_figure_counts_and_is_marked():
    main, warnings = read({"model": "gpt-9", **USED, "cost_usd": 0.5})
    assert main is not None
    assert (main.cost_usd, main.reported, main.sonnet_cost_usd, warnings) == (0.5, True, 0.04, [])
    main, warnings = read({"model": "gpt-9", **USED})
    assert main is not None
    assert (main.cost_usd, main.reported, main.input_tokens) == (None, False, 10_000)
    assert "no price is known for the model 'gpt-9'" in warnings[0]
    assert "cost_usd" in warnings[0]
    main, _ = read({"model": "gpt-9", "cost_usd": 0.25})
    assert main is not None
    assert (main.cost_usd, main.sonnet_cost_usd) == (0.25, 0.25)


HUGE = 10**5000


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("sonnet", "metadata.main_agent is 'sonnet'"),
        ([USED], "a list of 1"),
        ({"model": 7, **USED}, "main_agent.model is 7"),
        ({**USED}, "main_agent.model is None"),
        ({"model": "sonnet", "input_tokens": -5, "output_tokens": 1}, "input_tokens is -5"),
        ({"model": "sonnet", "input_tokens": "10k", "output_tokens": 1}, "input_tokens is '10k'"),
        ({"model": "sonnet", "input_tokens": True, "output_tokens": 1}, "input_tokens is True"),
        ({"model": "sonnet", "input_tokens": 1.5, "output_tokens": 1}, "input_tokens is 1.5"),
        ({"model": "sonnet", "input_tokens": HUGE, "output_tokens": 1}, "input_tokens is a number of thousands"),
        ({"model": "sonnet", "cost_usd": math.inf, "output_tokens": 1}, "cost_usd is inf"),
        ({"model": "sonnet", "cost_usd": HUGE, "output_tokens": 1}, "cost_usd is a number of thousands"),
        ({"model": "sonnet", "cost_usd": "0.06", "output_tokens": 1}, "cost_usd is '0.06'"),
        ({"model": "sonnet", "tokens": 12_000}, "tokens is not used"),
        ({"model": "sonnet"}, "states neither tokens nor a cost"),
    ],
)
def test_what_cannot_be_used_is_a_warning(stated: Any, said: str):
    main, warnings = read(stated)
    assert said in " ".join(warnings)
    assert main is None or MainAgentCost.model_validate_json(main.model_dump_json()) == main


def test_silence_is_no_warning():
    assert read(None) == (None, [])
    assert read_main_agent({"model": "sonnet"}, Settings.model_validate({}), AT) == (None, [])
