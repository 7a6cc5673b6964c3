"""The guide's agent_costs block."""

from __future__ import annotations

import subprocess
import sys

import pytest

from haikud.contracts.usage import UsageTotal
from haikud.costs.comparison import AgentCost, agent_costs, time_saved


def total(given: int, out: int, cost: float, sonnet: float, *, cached: int = 0) -> UsageTotal:
    return UsageTotal(
        requests=1,
        input_tokens=given - cached,
        output_tokens=out,
        cache_read_tokens=cached,
        tokens_used=given + out,
        cost_usd=cost,
        sonnet_cost_usd=sonnet,
    )


def test_the_block_has_the_shape_of_the_guide():
    block = agent_costs(
        [
            AgentCost("claude-haiku-5-5", "Implement auth page", total(30_000, 5000, 0.044, 0.165, cached=20_000)),
            AgentCost("claude-haiku-5-5", "Implement dashboard", total(32_000, 5500, 0.048, 0.1785)),
        ]
    )
    assert block == {
        "haiku_agent_1": {
            "model": "claude-haiku-5-5",
            "task": "Implement auth page",
            "input_tokens": 30_000,
            "output_tokens": 5000,
            "cost_usd": 0.044,
        },
        "haiku_agent_2": {
            "model": "claude-haiku-5-5",
            "task": "Implement dashboard",
            "input_tokens": 32_000,
            "output_tokens": 5500,
            "cost_usd": 0.048,
        },
        "total_cost": 0.092,
        "comparison": {"if_all_sonnet": 0.3435, "savings_usd": 0.2515, "savings_percent": 73.2},
    }


def test_names_follow_the_model_and_the_main_agent_has_no_task():
    block = agent_costs(
        [
            AgentCost("claude-sonnet-5-5", "", total(10_000, 2000, 0.06, 0.06), is_main=True),
            AgentCost("claude-haiku-4-5", "a", total(1, 1, 0.0, 0.0)),
            AgentCost("claude-sonnet-5-5", "b", total(1, 1, 0.0, 0.0)),
            AgentCost("", "a command", UsageTotal()),
        ]
    )
    assert list(block)[:4] == ["main_agent", "haiku_agent_1", "sonnet_agent_1", "agent_1"]
    assert "task" not in block["main_agent"]
    assert block["comparison"]["savings_percent"] == 0.0


def test_dearer_than_sonnet_is_said():
    block = agent_costs([AgentCost("claude-opus-5-5", "x", total(1, 1, 0.3, 0.2))])
    assert block["comparison"] == {"if_all_sonnet": 0.2, "savings_usd": -0.1, "savings_percent": -50.0}


def test_nothing_spent_saves_nothing():
    assert agent_costs([])["comparison"] == {"if_all_sonnet": 0.0, "savings_usd": 0.0, "savings_percent": 0.0}


def test_time_saved_as_the_guide_counts_it():
    saved = time_saved([900, 720, 1080], 1080)
    assert saved["time_saved_seconds"] == 1620
    assert saved["time_saved_percent"] == pytest.approx(60.0)
    assert time_saved([10], 30)["time_saved_seconds"] == 0.0


def test_the_comparison_does_not_load_the_price_list():
    code = "import sys, haikud.costs.comparison; sys.exit('genai_prices' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
