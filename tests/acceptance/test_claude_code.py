"""The role `claude-code` with the real Claude Code, against the scripted API: the demo's task, from file to file."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.support.claude_code import claude_or_skip
from tests.support.house import House
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.interfaces.demo_project import make_request, write_project
from haikud.offline.server import ScriptedApi

TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
STAMP = "2026-11-23T10:00:00Z"


def test_claude_code_completes_the_demo_task(house: House):
    folder = claude_or_skip()
    write_project(house.repository)
    git(house.repository, "add", "-A")
    git(house.repository, "commit", "-qm", "The navigation")
    with ScriptedApi("logout") as api:
        house.environment = {
            "PATH": f"{folder}:{house.base_environment()['PATH']}",
            "ANTHROPIC_API_KEY": "sk-ant-scripted",
            "ANTHROPIC_BASE_URL": api.base_url,
        }
        house.start()
        request = make_request(house.repository, STAMP)
        request["receiver"] = "claude-code"
        house.drop("incoming", "logout.json", request)
        response = house.response("req-12345")
        asked = [one for one in api.journal if one.path == "/v1/messages"]

    payload = response["payload"]
    assert response["status"] == "success", (response, house.log("req-12345"))
    assert payload["tests_passing"] is True
    assert sorted(payload["files_changed"]) == ["navigation/bar.py", "tests/test_logout.py"]
    assert payload["summary"].startswith("[scripted] Added a logout button")
    branch = git(house.repository, "log", "-1", "--format=%s%n%b", "feature/req-12345")
    assert branch.startswith("Add a logout button to the navigation"), branch
    assert "Co-Authored-By" not in branch

    log = house.log("req-12345")
    assert re.search(r"agent \| Claude Code \d+\.\d+\.\d+, claude-haiku-5-5, session ", log), log
    assert "agent | Bash: cat navigation/session.py" in log
    assert "progress 50 %: the button stands beside the profile" in log

    own = payload["claude_code"]
    assert {one.status for one in asked} == {200}
    assert own["num_turns"] > 0
    assert own["resumed"] is False
    usages = [one.usage for one in asked if one.usage]
    for name in TOKENS:
        assert own["usage"][name] == sum(usage[name] for usage in usages), name
    assert own["total_cost_usd"] == pytest.approx(sum(_cost(usage) for usage in usages), rel=1e-9)
    if any((house.spool / "gateway" / "usage").glob("*.jsonl")):  # the gateway's books and Claude Code's own agree
        assert response["metrics"]["cost_usd"] == pytest.approx(own["total_cost_usd"], rel=1e-9)
        assert response["metrics"]["tokens_used"] == sum(own["usage"][name] for name in TOKENS)
    assert not any("sk-ant-scripted" in text for text in _texts(house))


ASKING: dict[str, Any] = {
    "name": "asking",
    "conversations": [
        {
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
            ]
        }
    ],
}


def test_its_question_is_answered_in_the_same_session(house: House):
    folder = claude_or_skip()
    with ScriptedApi(ASKING) as api:
        house.environment = {
            "PATH": f"{folder}:{house.base_environment()['PATH']}",
            "ANTHROPIC_API_KEY": "sk-ant-scripted",
            "ANTHROPIC_BASE_URL": api.base_url,
        }
        house.start()
        house.request("sign", role="claude-code", files=["calc.py"])
        question = wait_until(lambda: house.read("escalations/sign.json"), seconds=60, what=house.tail)
        assert question is not None
        report = question["payload"]
        house.drop("guidance", "sign.txt", "minus")
        response = house.response("sign")
    assert "Which sign?" in json.dumps(report)
    assert "plus" in json.dumps(report)
    assert response["status"] == "success", (response, house.log("sign"))
    own = response["payload"]["claude_code"]
    assert own["resumed"] is True
    assert own["session_cost_usd"] > own["total_cost_usd"] > 0
    log = house.log("sign")
    assert f"agent | goes on with the session {own['session_id']}" in log
    assert "attempt 1's out/keep was taken over" in log


def _cost(usage: dict[str, int]) -> float:
    """USD at claude-haiku-5-5's prices for short requests."""
    tokens = {"input_tokens": 0.10, "output_tokens": 0.50}
    tokens |= {"cache_creation_input_tokens": 0.125, "cache_read_input_tokens": 0.01}
    return sum(usage[name] * price for name, price in tokens.items()) / 1e6


def _texts(house: House) -> list[str]:
    files = [path for path in house.spool.rglob("*") if path.is_file()]
    return [path.read_text(encoding="utf-8", errors="replace") for path in files]
