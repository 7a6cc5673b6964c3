"""Faults of the API as a requester sees them: retried within bounds, waited out, or ended at once."""

from __future__ import annotations

from typing import Any

from tests.support.house import House
from tests.support.repository import TEST_COMMAND
from tests.support.scripts import add_sub, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "cut": {"kind": "cut", "after_events": 4},
    "stalled": {"kind": "stall", "after_events": 4, "seconds": 60},
    "truncated": {"kind": "truncate", "after_events": 4},
    "corrupt": {"kind": "corrupt", "after_events": 4},
}
LASTING = ("503", "cut", "truncated")
AT_ONCE = (401, 404)
"""The other kinds are the built-in agent's own tests, against the same API."""


def request(house: House, task_id: str) -> None:
    house.request(task_id, title=f"Task {task_id}.", files=["calc.py"], context={"test_command": TEST_COMMAND})


def start(house: House, base_url: str) -> None:
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted", "ANTHROPIC_BASE_URL": base_url}
    house.start()


def test_passing_faults_and_short_limits_are_waited_out_and_the_task_succeeds(house: House):
    note = {"name": "report_progress", "input": {"percent": 10, "message": "on the way"}}
    limits = [{"kind": "status", "status": status, "retry_after": 0} for status in (429, 529)]
    turns = [{"tools": [note], "fault": {**fault, "times": 2}} for fault in FAULTS.values()]
    turns += [{"tools": [note], "fault": {**limit, "times": 1}} for limit in limits]
    with ScriptedApi(parse_scenario(scenario(conversation(*turns, *add_sub())))) as api:
        house.settings = {"api": {"stall_seconds": 1.0}}
        start(house, api.base_url)
        request(house, "faulty")
        response = house.response("faulty")
        assert response["status"] == "success", house.tail()
        assert response["payload"]["attempts"] == 1
        assert house.log("faulty").count("\nretry ") == 2 * len(FAULTS)  # limits are waited out by the gateway
        assert len(api.journal) == 3 * len(FAULTS) + 2 * len(limits) + 4


def test_a_lasting_fault_ends_in_a_failure_that_says_what_happened(house: House):
    conversations = [
        conversation(*add_sub({**FAULTS[name], "times": None}), match=f"Task {name}\\.", name=name) for name in LASTING
    ]
    with ScriptedApi(parse_scenario(scenario(*conversations))) as api:
        house.settings = {"retries": {"attempts": 1}}
        start(house, api.base_url)
        for name in LASTING:
            request(house, name)
        for name in LASTING:
            response = house.response(name)
            assert response["status"] == "failure", (name, response)
            report = response["payload"]["error_report"]
            assert report["type"] == "api_error"
            assert report["error"]["message"]
            assert report["attempted_solutions"]
            asked = [exchange for exchange in api.journal if f"Task {name}." in str(exchange.body)]
            assert len(asked) == 1 + 3  # the first turn, then three tries of the second


def test_a_request_that_the_api_refuses_ends_at_once(house: House):
    conversations = [
        conversation(*add_sub({"kind": "status", "status": status, "times": None}, at=0), match=f"Task s{status}\\.")
        for status in AT_ONCE
    ]
    with ScriptedApi(parse_scenario(scenario(*conversations))) as api:
        start(house, api.base_url)
        for status in AT_ONCE:
            request(house, f"s{status}")
        for status in AT_ONCE:
            response = house.response(f"s{status}")
            assert response["status"] == "failure"
            assert response["payload"]["attempts"] == 1
            report = response["payload"]["error_report"]
            assert report["type"] == "api_error"
            assert str(status) in report["error"]["message"]
            assert report["next_steps"]["suggested_action"]
        assert len(api.journal) == len(AT_ONCE)


def test_a_refusal_of_the_model_ends_at_once(house: House):
    refusal = {"text": "I cannot help with that.", "stop_reason": "refusal"}
    with ScriptedApi(parse_scenario(scenario(conversation(refusal)))) as api:
        start(house, api.base_url)
        request(house, "refused")
        response = house.response("refused")
        assert response["status"] == "failure"
        assert len(api.journal) == 1
        assert "refus" in str(response["payload"]["error_report"]).lower()


def test_a_long_limit_pauses_the_whole_queue_and_counts_no_attempt(house: House):
    fault = {"kind": "status", "status": 429, "times": 1, "retry_after": 3}
    house.settings = {"api": {"quota_wait_seconds": 0.5}, "max_agents": 1}
    house.role("worker", "true")
    with ScriptedApi(parse_scenario(scenario(conversation(*add_sub(fault))))) as api:
        start(house, api.base_url)
        request(house, "limited")
        wait_until(lambda: house.state("limited"), what="the first to be admitted")
        house.request("other", role="worker")  # there is one place, and the first one has it
        wait_until(
            lambda: house.state("limited") == "deferred", what=lambda: f"the task to be deferred; {house.tail()}"
        )
        wait_until(lambda: (house.read("status.json") or {}).get("paused"), what="the pause in status.json")
        assert house.state("other") == "queued"
        response = house.response("limited")
        assert response["status"] == "success", house.tail()
        assert house.decisions("limited", "limited")[-1]["failures"] == 0
        assert house.response("other")["status"] == "success"
        wait_until(lambda: not (house.read("status.json") or {}).get("paused"), what="the pause's end")


def test_a_command_and_a_test_over_their_limits_are_ended_tree_and_all(house: House):
    sleeper = "setsid sleep 300 & sleep 300"
    turns = [{"tools": [{"name": "bash", "input": {"command": sleeper}}]}, *add_sub()]
    house.settings = {"limits": {"tool_seconds": 1.0, "test_seconds": 1.0}}
    with ScriptedApi(parse_scenario(scenario(conversation(*turns)))) as api:
        start(house, api.base_url)
        house.request("late", files=["calc.py"], context={"test_command": sleeper})
        response = house.response("late")
    assert response["status"] == "failure"
    assert response["payload"]["error_report"]["type"] == "timeout"
    assert "Added sub()" in response["payload"]["summary"]
    assert response["payload"]["commits"] == 1
    assert house.leftovers() == []
