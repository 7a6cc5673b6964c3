"""Agents that do not get on are noticed, paused at a turn boundary and escalated with evidence; guidance goes on."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

KEY = "sk-ant-scripted-0123456789"

MONITORS = {"silence_seconds": 1.5, "repeats": 3, "undeclared": "escalate"}

LOOKS = {"tools": [{"name": "bash", "input": {"command": "sleep 0.4; ls nowhere"}}]}
STRAYS = {
    "tools": [
        {"name": "bash", "input": {"command": "echo '# mine' >> calc.py; echo '# not mine' >> other.py; git add -A"}},
        {"name": "bash", "input": {"command": "git commit -qm Strays; sleep 2.1"}},
    ]
}
SILENT = "echo begun >> calc.py; git commit -qam 'Half of it'; echo unsaved >> calc.py; exec sleep 1000"


def question(house: House, ref: str) -> dict[str, Any]:
    """The payload of the open question of a task."""
    found = wait_until(lambda: house.read(f"escalations/{ref}.json"), what=f"a question of {ref}; {house.tail()}")
    assert found is not None
    payload = found["payload"]
    assert isinstance(payload, dict)
    return payload


def entries(house: House, plan_id: str, event: str) -> list[dict[str, Any]]:
    """The ledger's entries of that kind."""
    lines = (house.spool / "plans" / plan_id / "ledger.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def test_a_looping_a_silent_and_a_straying_agent_are_noticed_paused_and_escalated(house: House):
    turns = [
        conversation(*[LOOKS] * 12, match="Do loops"),
        conversation(STRAYS, {"text": "All done."}, match="Do strays"),
    ]
    house.settings = {"monitors": MONITORS}
    house.role("silent", SILENT)
    with ScriptedApi(parse_scenario(scenario(*turns))) as api:
        house.environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("loops", files=["calc.py"])
        house.request("strays", files=["calc.py"])
        house.request("hangs", role="silent", files=["calc.py"])
        loops, strays, hangs = (question(house, ref) for ref in ("loops", "strays", "hangs"))

        assert loops["reason"].startswith(
            "A monitor paused the agent: the same operation 3 times in a row: bash: sleep"
        )
        assert loops["blocker"] == "Agent is stuck on the same operation"
        context = "\n".join(loops["context"])
        assert "ls: cannot access 'nowhere'" in context  # the end of the log
        assert "nothing has been changed" in context
        assert "No process of it was running but its runner" in context
        assert any(option.startswith("Reassign to Sonnet") for option in loops["options"])
        assert loops["recommendation"].startswith("Continue with guidance")

        assert "other.py" in strays["reason"]
        assert "Declared: calc.py" in strays["context"]
        assert "other.py" in strays["context"][-2]  # git status
        assert git(house.repository, "show", "--name-only", "--format=", "feature/strays").split() == [
            "calc.py",
            "other.py",
        ]

        assert "no sign of the agent for" in hangs["reason"]
        processes = hangs["context"][-1]
        assert "sleep 1000" in processes
        assert git(house.repository, "log", "-1", "--format=%s", "feature/hangs") == "Half of it"
        assert (house.repository / "worktrees" / "hangs" / "calc.py").read_text().endswith("unsaved\n")
        assert not house.leftovers()

        assert entries(house, "loops", "intervention")[0]["detail"]["trigger"] == "same_operation"
        assert entries(house, "strays", "intervention")[0]["detail"]["files"] == ["other.py"]
        assert "a monitor ends the attempt" in house.log("hangs")
        asked = [json.dumps(exchange.body["messages"]) for exchange in api.journal]
        assert 3 <= sum("Do loops" in one for one in asked) < 10  # stopped before its twelve turns were over
        assert sum("Do strays" in one for one in asked) == 1  # stopped before its second


def test_a_later_daemon_counts_on_and_a_restart_is_bounded(house: House):
    house.settings = {"monitors": {"silence_seconds": 3.0, "action": "restart", "restarts": 1}}
    house.role("silent", "echo here; exec sleep 1000")
    house.start()
    house.request("hangs", role="silent")
    wait_until(lambda: "agent | here" in house.log("hangs"), what=f"the agent to be silent; {house.tail()}")
    house.send(signal.SIGKILL)
    house.ended()
    house.start()
    said = "no sign of the agent for"
    wait_until(lambda: entries(house, "hangs", "intervention"), what=f"an intervention; {house.tail()}")
    asked = question(house, "hangs")
    assert said in asked["reason"]
    first, second = entries(house, "hangs", "intervention")
    assert (first["detail"]["action"], second["detail"]["action"]) == ("restart", "escalate")
    states = [(one["state"], one["attempt"], one.get("restarts", 0), one["fresh"]) for one in house.decisions("hangs")]
    assert states == [
        ("queued", 0, 0, False),
        ("running", 1, 0, False),
        ("queued", 1, 1, True),
        ("running", 2, 1, True),
        ("escalated", 2, 1, False),
    ]
    assert f"retry 2/2 begins afresh: A monitor paused the agent: {said}" in house.log("hangs")
