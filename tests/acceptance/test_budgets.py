"""A budget of 0.05 USD is never crossed, and whoever meets it asks and keeps its work.

What was spent is counted from the journal of the API's double and priced by genai-prices: nobody of ours is asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import COMMIT, EDIT, WRITE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.contracts.base import utc_now
from haikud.costs.prices import PriceList
from haikud.offline.journal import Exchange
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

HAMMER = Path(__file__).resolve().parents[1] / "support" / "hammer.py"
SONNET = "claude-sonnet-5-5"
BUDGET = 0.05
DEAR = "Word after word. " * 400  # 1,700 tokens, 0.017 USD at Sonnet's prices


def spent(exchanges: list[Exchange]) -> float:
    """What the API has counted for these, whether or not anybody saw it."""
    prices = PriceList()
    return sum(
        prices.price_message(str(one.body["model"]), one.usage, utc_now()).cost_usd
        for one in exchanges
        if one.path == "/v1/messages" and one.usage is not None
    )


def used_by_journal(house: House, ref: str) -> float:
    """What the gateway's journal says of a task."""
    lines = [
        json.loads(line) for path in house.spool.glob("gateway/usage/*.jsonl") for line in path.read_text().splitlines()
    ]
    return sum(line["entry"]["cost_usd"] for line in lines if line["ref"] == ref and line["step"] in {"used", "lost"})


def escalation(house: House, ref: str) -> dict[str, Any]:
    """Its question."""
    waited = house.haikud("wait", ref, "--timeout", "60")
    assert waited.returncode == 3, waited.stderr + house.tail()
    asked = house.read(f"escalations/{ref}.json")
    assert asked is not None
    payload: dict[str, Any] = asked["payload"]
    return payload


def test_neither_parallel_calls_of_a_script_nor_dear_turns_cross_a_budget(house: House):
    house.role("hammer", f"{sys.executable} {HAMMER}", credential=True, model=SONNET)
    house.settings = {"budgets": {"task_usd": BUDGET}, "models": {"haiku": SONNET}, "routing": "off"}
    step = {"name": "bash", "input": {"command": "echo more >> begun.txt"}}
    dear = [{"text": f"Turn {number}. {DEAR}", "tools": [step]} for number in range(20)]
    talks = [
        conversation({"text": DEAR}, match="Spend", name="script"),
        conversation(dict(EDIT), dict(WRITE), dict(COMMIT), *dear, match="Task dear", name="built-in"),
    ]
    with ScriptedApi(parse_scenario(scenario(*talks))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-made-up", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("script", role="hammer", files=["calc.py"])
        house.request("dear", title="Task dear", files=["calc.py"])
        asked = {ref: escalation(house, ref) for ref in ("script", "dear")}
        made = {
            ref: [one for one in api.journal if one.conversation == name]
            for ref, name in (("script", "script"), ("dear", "built-in"))
        }
    for ref, exchanges in made.items():
        really = spent(exchanges)
        assert 0.6 * BUDGET < really <= BUDGET, ref
        assert used_by_journal(house, ref) == pytest.approx(really, abs=1e-12)
        assert asked[ref]["reason"] == "The task has used up its budget."
        usage = house.read(f"plans/{ref}/{ref}/attempt-1/usage.json")
        assert usage is not None
        assert usage["total"]["cost_usd"] == pytest.approx(really, abs=1e-12)
        log = house.log(ref).splitlines()
        told = sum(int(line.split()[1]) for line in log if line.startswith("tokens_used "))
        assert told == usage["total"]["tokens_used"]
        assert git(house.repository, "rev-list", "--count", f"main..feature/{ref}") == "1"
        assert (house.repository / "worktrees" / ref / "begun.txt").exists()
    assert "402" in house.log("script")


def test_a_budget_holds_where_gateway_and_daemon_are_killed_in_the_middle_of_calls(house: House):
    house.role("hammer", f"{sys.executable} {HAMMER}", credential=True, model=SONNET)
    house.settings = {"budgets": {"task_usd": BUDGET}}
    slow = {"kind": "stall", "after_events": 3, "seconds": 0.5, "times": None}
    with ScriptedApi(parse_scenario(scenario(conversation({"text": DEAR, "fault": slow})))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-made-up", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("script", role="hammer", files=["calc.py"])
        wait_until(lambda: any(one.events_sent >= 3 for one in api.journal), what="calls to be under way")
        (gateway,) = house.gateways()
        gateway.kill()
        house.kill()
        house.start()
        escalation(house, "script")
        really = spent(api.journal)
    usage = house.read("plans/script/script/attempt-1/usage.json")
    assert usage is not None
    assert 0 < really <= usage["total"]["cost_usd"] <= BUDGET
    assert usage["estimated_usd"] > 0
    told = sum(int(line.split()[1]) for line in house.log("script").splitlines() if line.startswith("tokens_used "))
    assert told == usage["total"]["tokens_used"]
    assert used_by_journal(house, "script") == pytest.approx(usage["total"]["cost_usd"], abs=1e-12)
