"""Model calls while daemon and gateway are killed: nothing of what they cost is lost or counted twice, no cap crossed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import House
from tests.support.messages_double import MessagesDouble, says
from tests.support.waiting import wait_until

from haikud.contracts.usage_journal import CallStep
from haikud.spool.layout import GatewayPaths
from haikud.spool.usage_journal import Charge, read_charges

CALLER = """exec python3 - <<'EOF'
import http.client, json, os, sys, time, urllib.error, urllib.request
out, most = os.environ["HAIKUD_OUT"], {most}
open(out + "/token", "w").write(os.environ["ANTHROPIC_API_KEY"])
body = {{"model": os.environ["HAIKUD_MODEL"], "max_tokens": 200, "stream": True,
         "messages": [{{"role": "user", "content": "How are you?"}}]}}
headers = {{"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"}}
done = 0
while done < most:
    asked = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            done += b"message_stop" in answer.read()
    except urllib.error.HTTPError as refused:
        if refused.code == 402:
            sys.exit(1)
        time.sleep(0.1)
    except (OSError, http.client.HTTPException):
        time.sleep(0.1)
EOF
"""
"""An agent that makes so many calls, each as often as it takes, and fails when its budget is used up."""

USAGE = {"input_tokens": 50, "output_tokens": 100}
COST = 50 * 0.10e-6 + 100 * 0.50e-6  # claude-haiku-5-5


def start(house: House, api: MessagesDouble, **settings: Any) -> None:
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-made-up", "ANTHROPIC_BASE_URL": api.base_url}
    house.settings = {"api": {"stall_seconds": 60.0}, **settings}  # an answer is held back while processes start
    house.start()


def gateway_of(house: House) -> dict[str, Any]:
    """What status.json says of the gateway, once it runs."""

    def look() -> dict[str, Any] | None:
        status = house.read("status.json")
        found: dict[str, Any] = (status or {})["daemon"]["gateway"]
        return found if found["state"] == "running" else None

    return wait_until(look, what=lambda: f"the gateway; {house.tail()}") or {}


def ask(base_url: str, token: str) -> int:
    """The status that a call with this token gets."""
    address = urllib.parse.urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    body = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Once more?"}]}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/messages", json.dumps(body), {"x-api-key": token})
        return connection.getresponse().status


def charges(house: House) -> list[Charge]:
    return list(read_charges(GatewayPaths(house.spool / "gateway")))


def used(house: House, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.task_folder(ref) / "attempt-1" / "usage.json").read_bytes())
    return found


def test_a_daemon_that_is_killed_in_mid_call_finds_the_gateway_again_and_its_token_dies_with_the_attempt(house: House):
    gate = threading.Event()
    with MessagesDouble([says("Well.", usage=USAGE, gate=gate), says("And you?", usage=USAGE)]) as api:
        house.role("caller", CALLER.format(most=2), credential=True, workspace="none")
        start(house, api)
        assert not house.gateways()  # nobody calls yet
        house.request("talk", role="caller")
        wait_until(lambda: api.journal, what=lambda: f"the first call; {house.tail()}")
        before = gateway_of(house)
        house.kill()
        house.start()
        assert gateway_of(house) == before
        gate.set()
        response = house.response("talk")
        assert response["status"] == "success", house.tail()
        assert response["metrics"]["cost_usd"] == pytest.approx(2 * COST, abs=1e-12)
        assert used(house, "talk")["total"]["cost_usd"] == response["metrics"]["cost_usd"]
        assert [charge.line.step for charge in charges(house)] == [CallStep.USED, CallStep.USED]
        assert [one.headers["x-api-key"] for one in api.journal] == ["sk-ant-made-up"] * 2
        assert response["payload"]["attempts"] == 1
        token = (house.task_folder("talk") / "attempt-1/out/token").read_text()
        assert ask(before["base_url"], token) == 401
        assert not list((house.spool / "gateway/tokens").iterdir())
        assert len(api.journal) == 2
        assert house.haikud("stop").returncode == 0
        assert house.ended() == 0
        assert not house.gateways()


def test_a_budget_holds_and_costs_are_exact_while_gateway_and_daemon_are_killed_in_mid_call(house: House):
    budget, first, second = 0.003, threading.Event(), threading.Event()
    answers = [says("Well.", usage=USAGE) for _ in range(100)]
    answers[0].gate, answers[8].gate = first, second
    with MessagesDouble(answers) as api:
        house.role("caller", CALLER.format(most=1000), credential=True, workspace="none")
        start(house, api)
        house.request("talk", role="caller", max_cost_usd=budget)
        wait_until(lambda: api.journal, what=lambda: f"the first call; {house.tail()}")
        before = gateway_of(house)
        os.kill(before["pid"], 9)
        wait_until(lambda: len(api.journal) == 9, what=lambda: f"eight calls through another; {house.tail()}")
        house.kill()
        for gateway in house.gateways():
            gateway.kill()
        house.start()
        wait_until(lambda: house.state("talk") == "escalated", what=lambda: f"its end; {house.tail()}")
        first.set()
        second.set()
        after = gateway_of(house)
        assert after["base_url"] == before["base_url"]
        found, total = charges(house), used(house, "talk")
        lost = [charge.entry for charge in found if charge.line.step is CallStep.LOST]
        assert len(lost) == 2  # both calls during which a gateway was killed, at the most they can have cost
        assert all(entry.cost_usd >= COST for entry in lost)
        asked = [one for one in api.journal if "max_tokens" in one.body]  # the others only count tokens
        assert len(found) == len(asked)  # no call is missing, and none is there twice
        exactly = sum(charge.entry.cost_usd for charge in found)
        assert exactly == pytest.approx(sum(entry.cost_usd for entry in lost) + COST * (len(found) - 2), abs=1e-12)
        assert total["total"]["requests"] == len(found)
        assert total["total"]["cost_usd"] == pytest.approx(exactly, abs=1e-12)
        assert total["estimated_usd"] == pytest.approx(sum(entry.cost_usd for entry in lost), abs=1e-12)
        assert COST * len(asked) <= total["total"]["cost_usd"] <= budget
        question = wait_until(lambda: house.read("escalations/talk.json"), what="its question")
        assert "budget" in str(question["payload"]), question


def test_a_task_that_uses_up_the_day_goes_on_tomorrow_or_with_a_higher_budget(house: House):
    with MessagesDouble([says("Well.", usage=USAGE) for _ in range(200)]) as api:
        house.role("caller", CALLER.format(most=30), credential=True, workspace="none")
        start(house, api, budgets={"day_usd": 0.0015})
        house.request("first", role="caller")
        wait_until(lambda: house.state("first") == "deferred", what=lambda: f"its end; {house.tail()}")
        last = house.decisions("first")[-1]
        assert last["retry_at"].endswith("T00:00:00Z"), last
        assert (last["attempt"], last["failures"], last["outcome"]) == (1, 0, "exited_with_error")
        assert "day" in last["reason"]
        assert used(house, "first")["total"]["cost_usd"] <= 0.0015
        assert used(house, "first")["total"]["requests"] >= 10
        house.request("second", role="caller")
        wait_until(lambda: house.state("second") == "deferred", what=lambda: f"its wait; {house.tail()}")
        assert house.decisions("second")[-1]["attempt"] == 0
        house.settings["budgets"] = {"day_usd": 1.0}
        house.command()  # writes the settings
        house.send(signal.SIGHUP)
        assert [house.response(name)["status"] for name in ("first", "second")] == ["success", "success"]
        assert sum(charge.entry.cost_usd for charge in charges(house)) > 0.0015


def test_nothing_is_started_for_agents_that_call_no_model(house: House):
    house.role("plain", "true", workspace="none")
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-made-up"}
    house.start()
    house.request("plain", role="plain")
    assert house.response("plain")["status"] == "success"
    assert house.read("status.json")["daemon"]["gateway"]["state"] == "not needed yet"
    assert not (house.spool / "gateway/address.json").exists()
    assert not house.gateways()


def test_paths_of_any_length_are_served(tmp_path: Path):
    house = House(tmp_path / ("a long way down " * 8).strip() / "x" / "house")
    try:
        with MessagesDouble([says("Well.", usage=USAGE)]) as api:
            house.role("caller", CALLER.format(most=1), credential=True, workspace="none")
            start(house, api)
            house.request("talk", role="caller")
            assert house.response("talk")["status"] == "success"
            assert (house.spool / "gateway/messages.sock").is_socket()
    finally:
        house.close()
