"""The account's limits as a requester sees them: one pause for all, that ends by itself and fails nobody.

With HAIKUD_RETRY_AFTER=20 the API asks for as long as that.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.house import House
from tests.support.scripts import conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.journal import Exchange, Journal
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

RETRY_AFTER = float(os.environ.get("HAIKUD_RETRY_AFTER", "6"))
EARLY = 0.05
"""Seconds that the two ends of a connection may differ by in what they call now."""


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each request came to the scripted API."""
    times: list[float] = []
    journal_open = Journal.open

    def noted(self: Journal, method: str, path: str, headers: dict[str, str]) -> Exchange:
        times.append(time.time())
        return journal_open(self, method, path, headers)

    monkeypatch.setattr(Journal, "open", noted)
    return times


def bash(command: str, **turn: Any) -> dict[str, Any]:
    return {"tools": [{"name": "bash", "input": {"command": command}}], **turn}


def shown(house: House) -> dict[str, Any]:
    return house.read("status.json") or {}


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def test_an_outage_fails_nobody_and_its_end_is_found(house: House) -> None:
    script = parse_scenario(scenario(conversation({"text": "Done."})))
    with ScriptedApi(script) as gone:
        base_url = gone.base_url
    house.settings = {"api": {"quota_wait_seconds": 1.0}}
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted", "ANTHROPIC_BASE_URL": base_url}
    house.start()
    house.request("cut-off", title="Cut off")
    wait_until(
        lambda: house.state("cut-off") == "deferred", seconds=60, what=lambda: f"the task to wait; {house.tail()}"
    )
    paused = wait_until(lambda: shown(house).get("paused") and shown(house), what=lambda: f"the pause; {house.tail()}")
    assert paused["paused"].removeprefix("the API cannot be reached (").startswith("127.0.0.1:")
    with ScriptedApi(script, port=int(base_url.rpartition(":")[2])):
        response = house.response("cut-off")
    assert response["status"] == "success", house.tail()
    assert all(decision["failures"] == 0 for decision in house.decisions("cut-off"))
    assert house.log("cut-off").count("\nretry ") == 0


def test_a_429_pauses_all_attempts_once_fails_none_and_ends_by_itself(house: House, arrivals: list[float]) -> None:
    gate = house.root / "gate"
    limit = {"kind": "status", "status": 429, "times": 1, "retry_after": RETRY_AFTER}
    conversations = [
        conversation(bash("true"), {"text": "Done.", "fault": limit}, match="Task one", name="one"),
        conversation(
            bash(f'while [ ! -e "{gate}" ]; do sleep 0.1; done'), {"text": "Done."}, match="Task two", name="two"
        ),
    ]
    house.role("worker", "true", workspace="none")
    with ScriptedApi(parse_scenario(scenario(*conversations))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("two", title="Task two")
        wait_until(lambda: len(api.journal) == 1, what=lambda: f"two to be at work; {house.tail()}")
        house.request("one", title="Task one")
        paused = wait_until(
            lambda: shown(house).get("paused") and shown(house), what=lambda: f"the pause; {house.tail()}"
        )
        gate.touch()  # from here on two wants to make its next call
        house.request("late", role="worker")
        wait_until(lambda: house.state("late") == "queued", what="the third task to be admitted")
        listing = house.haikud("status").stdout
        responses = {name: house.response(name, seconds=60 + RETRY_AFTER) for name in ("one", "two", "late")}
        wait_until(lambda: shown(house).get("paused", "") is None, what="the pause to be gone from status.json")

    limited = [exchange.status for exchange in api.journal].index(429)
    assert [exchange.status for exchange in api.journal].count(429) == 1, "nobody else ran into it"
    assert [name for name, response in responses.items() if response["status"] != "success"] == []
    assert {name: len(house.decisions(name)) for name in responses} == dict.fromkeys(responses, 3)
    assert all(decision["failures"] == 0 for name in responses for decision in house.decisions(name))
    assert "retry " not in house.log("one"), "the gateway waits, and the agent does not notice"

    assert paused["paused_kind"] == "rate_limit"
    assert paused["paused"] == "the API's rate limit (429 rate_limit_error): This request would exceed your rate limit"
    ends = seconds_of(paused["paused_until"])
    assert ends - arrivals[limited] == pytest.approx(RETRY_AFTER, abs=1.0)
    assert "The queue is paused (the API's rate limit (429 rate_limit_error)" in listing
    assert house.said().count("queue paused") == 1
    assert house.said().count("queue goes on") == 1

    assert len(arrivals) == limited + 3, "one call of each was held back, and made once"
    first, second = arrivals[limited + 1 :]
    assert first - arrivals[limited] >= RETRY_AFTER - EARLY
    assert first - arrivals[limited] < RETRY_AFTER + 10
    started = next(seconds_of(one["at"]) for one in house.decisions("late") if one["state"] == "running")
    assert started - arrivals[limited] >= RETRY_AFTER - EARLY
    print(  # noqa: T201 - the figures, for who asks for them (-s)
        f"retry-after {RETRY_AFTER:g} s: the two calls held back came {first - arrivals[limited]:.2f} s and "
        f"{second - arrivals[limited]:.2f} s after the 429, a new attempt {started - arrivals[limited]:.2f} s"
    )
