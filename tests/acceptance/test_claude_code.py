"""The role `claude-code` with the real Claude Code, against the scripted API: two tasks at once, from file to file.

One is the demo's task. The other asks, and its answer goes into the session that has asked.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.support.claude_code import claude_or_skip
from tests.support.house import House
from tests.support.repository import CALCULATOR, git
from tests.support.waiting import wait_until

from haikud.interfaces.demo_project import make_request, write_project
from haikud.offline.journal import Exchange
from haikud.offline.scenario import load_scenario, parse_scenario
from haikud.offline.server import ScriptedApi

STAMP = "2026-11-23T10:00:00Z"
DEMO, SIGN = "req-12345", "sign"
TOKENS = {
    "input_tokens": 0.10,
    "output_tokens": 0.50,
    "cache_creation_input_tokens": 0.125,
    "cache_read_input_tokens": 0.01,
}
"""USD per million at claude-haiku-5-5's prices for short requests."""

ASKING: dict[str, Any] = {
    "name": "asking",
    "conversations": [
        {
            "match": {"first_message": f"Do {SIGN}"},
            "turns": [
                {"tools": [{"name": "Bash", "input": {"command": "ls"}}]},
                {"text": "I looked.\nESCALATE: Which sign?\nOption: minus\nOption: plus\nRecommendation: minus"},
                {
                    "branches": [
                        {
                            "when": "Guidance from the requester: minus",
                            "tools": [{"name": "Bash", "input": {"command": "echo >> calc.py; git commit -qam Sign"}}],
                        }
                    ]
                },
                {"text": "Done with a minus."},
            ],
        }
    ],
}


def test_claude_code_completes_the_demo_task_and_takes_an_answer(house: House):
    folder = claude_or_skip()
    assert (house.repository / "calc.py").read_text() == CALCULATOR["calc.py"]
    write_project(house.repository)
    git(house.repository, "add", "-A")
    git(house.repository, "commit", "-qm", "The navigation")
    logout = load_scenario("logout")
    conversations = [*parse_scenario(ASKING).conversations, *logout.conversations]
    with ScriptedApi(logout.model_copy(update={"conversations": conversations})) as api:
        house.environment = {
            "PATH": f"{folder}:{house.base_environment()['PATH']}",
            "ANTHROPIC_API_KEY": "sk-ant-scripted",
            "ANTHROPIC_BASE_URL": api.base_url,
        }
        house.start()
        house.drop("incoming", "logout.json", {**make_request(house.repository, STAMP), "receiver": "claude-code"})
        house.request(SIGN, role="claude-code", files=["calc.py"])
        question = wait_until(lambda: house.read(f"escalations/{SIGN}.json"), seconds=60, what=house.tail)
        house.drop("guidance", f"{SIGN}.txt", "minus")
        demo, sign = house.response(DEMO), house.response(SIGN)
        asked = [one for one in api.journal if one.path == "/v1/messages"]

    assert {one.status for one in asked} == {200}
    _check_work(house, demo)
    _check_costs(demo, [one for one in asked if one.conversation == "logout, by Claude Code"])
    assert question is not None
    _check_answer(house, question, sign)
    files = [path for path in house.spool.rglob("*") if path.is_file()]
    assert not [path for path in files if "sk-ant-scripted" in path.read_text(encoding="utf-8", errors="replace")]


def _check_work(house: House, response: dict[str, Any]) -> None:
    payload, log = response["payload"], house.log(DEMO)
    assert response["status"] == "success", (response, log)
    assert payload["tests_passing"] is True
    assert sorted(payload["files_changed"]) == ["navigation/bar.py", "tests/test_logout.py"]
    assert payload["summary"].startswith("[scripted] Added a logout button")
    branch = git(house.repository, "log", "-1", "--format=%s%n%b", f"feature/{DEMO}")
    assert branch.startswith("Add a logout button to the navigation"), branch
    assert "Co-Authored-By" not in branch
    assert re.search(r"agent \| Claude Code \d+\.\d+\.\d+, claude-haiku-5-5, session ", log), log
    assert "agent | Bash: cat navigation/session.py" in log
    assert "progress 50 %: the button stands beside the profile" in log


def _check_costs(response: dict[str, Any], asked: list[Exchange]) -> None:
    """What Claude Code says of itself is what the API has served, and what the gateway has in its books."""
    own = response["payload"]["claude_code"]
    assert (own["num_turns"] > 0, own["resumed"]) == (True, False)
    usages = [one.usage for one in asked if one.usage]
    for name in TOKENS:
        assert own["usage"][name] == sum(usage[name] for usage in usages), name
    cost = sum(usage[name] * price / 1e6 for usage in usages for name, price in TOKENS.items())
    assert own["total_cost_usd"] == pytest.approx(cost, rel=1e-9)
    assert response["metrics"]["cost_usd"] == pytest.approx(own["total_cost_usd"], rel=1e-9)
    assert response["metrics"]["tokens_used"] == sum(own["usage"][name] for name in TOKENS)


def _check_answer(house: House, question: dict[str, Any], response: dict[str, Any]) -> None:
    assert "Which sign?" in json.dumps(question["payload"])
    assert question["payload"]["options"] == ["minus", "plus"]
    assert response["status"] == "success", (response, house.log(SIGN))
    own = response["payload"]["claude_code"]
    assert own["resumed"] is True
    assert own["session_cost_usd"] > own["total_cost_usd"] > 0
    assert response["metrics"]["cost_usd"] == pytest.approx(own["session_cost_usd"], rel=1e-9)  # of both attempts
    log = house.log(SIGN)
    assert f"agent | goes on with the session {own['session_id']}" in log
    assert "attempt 1's out/keep was taken over" in log
