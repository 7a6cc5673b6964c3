"""Routing with `escalate`, from outside: asked before a token is spent, once, over a kill -9."""

from __future__ import annotations

import signal

from tests.support.house import House
from tests.support.repository import TEST_COMMAND
from tests.support.scripts import add_sub, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

KEY = "sk-ant-scripted-0123456789"
OPEN = ("keep", "hand-on", "drop")


def test_it_is_handed_back_before_a_token_is_spent_and_goes_on_as_answered(house: House):
    with ScriptedApi(parse_scenario(scenario(conversation(*add_sub())))) as api:
        house.environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.base_url}
        house.settings = {"routing": "escalate", "max_agents": 1}
        house.start()
        for name in OPEN:
            house.request(
                name, title=f"Decide how to {name}", files=["calc.py"], context={"test_command": TEST_COMMAND}
            )
        for name in OPEN:
            wait_until(
                lambda n=name: house.read(f"escalations/{n}.json"), what=f"the question of {name}; {house.tail()}"
            )
        asked = house.read("escalations/keep.json")
        assert asked is not None
        assert asked["payload"]["escalation_id"] == "keep.e1"
        assert asked["metrics"]["tokens_used"] == 0
        assert any("'decide how to keep'" in ground for ground in asked["payload"]["context"])

        house.send(signal.SIGKILL)
        house.ended()
        folder = house.spool / "plans/drop/drop"
        (folder / "decision-0002.json").unlink()  # as if it had died between the question and the decision
        house.start()
        wait_until(lambda: len(house.decisions("drop")) == 2, what=f"drop to ask again; {house.tail()}")
        assert [path.name for path in folder.glob("escalation-*")] == ["escalation-0001.json"]
        assert api.journal == []
        assert not any((house.spool / f"plans/{name}/{name}/attempt-1").exists() for name in OPEN)

        house.drop("guidance", "drop.json", {"action": "cancel"})
        house.drop("guidance", "hand-on.json", {"action": "reassign", "model": "sonnet"})
        handed_on = house.response("hand-on")
        house.drop("guidance", "keep.txt", "It is only a subtraction.")
        kept = house.response("keep")
        assert (house.response("drop")["status"], handed_on["status"], kept["status"]) == (
            "cancelled",
            "success",
            "success",
        ), house.tail()
        (warned,) = kept["payload"]["warnings"]
        assert warned.startswith("routing: keep looks like Sonnet's: the title asks for a judgement")
        models = [call.body["model"] for call in api.journal]
        assert models == ["claude-sonnet-5-5"] * 4 + ["claude-haiku-5-5"] * 4
        for name in ("keep", "hand-on"):
            states = [decision["state"] for decision in house.decisions(name)]
            assert states == ["queued", "escalated", "queued", "running", "succeeded"]
