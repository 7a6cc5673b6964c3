"""Retries as a requester sees them, with the default numbers; and others get their turn meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.support.house import House
from tests.support.waiting import wait_until


def at(decision: dict[str, Any], key: str = "at") -> datetime:
    return datetime.fromisoformat(decision[key])


def test_the_network_is_tried_three_times_after_two_and_four_seconds_and_others_work_meanwhile(house: House):
    """One agent at a time: the waits of the one that fails are the others' turns."""
    house.settings = {"max_agents": 1, "retries": {"attempts": 3, "waits": [2.0, 4.0]}}
    house.role("offline", 'echo "curl: (6) Could not resolve host: example.org" >&2; exit 6', workspace="none")
    house.role("quick", "exit 0", workspace="none")
    house.start()
    house.request("never", role="offline")
    wait_until(lambda: house.state("never") == "deferred", what=f"never to be deferred; {house.tail()}")
    for name in ("first", "second"):
        house.request(name, role="quick")
    response = house.response("never")
    assert (response["status"], response["payload"]["attempts"]) == ("failure", 3), response

    waits = [one for one in house.decisions("never") if one["state"] == "deferred"]
    assert [one["failures"] for one in waits] == [1, 2]
    for decision, seconds in zip(waits, (2.0, 4.0), strict=True):
        assert decision["outcome"] == "exited_with_error"
        assert decision["reason"].startswith("network: ")
        assert abs((at(decision, "retry_at") - at(decision)).total_seconds() - seconds) < 0.5
    starts = [at(one) for one in house.decisions("never") if one["state"] == "running"]
    assert all(start >= at(wait, "retry_at") for start, wait in zip(starts[1:], waits, strict=True))

    report = response["payload"]["error_report"]
    assert (report["error"]["code"], report["type"]) == ("NETWORK_ERROR", "agent_error")
    assert [line[:27] for line in report["attempted_solutions"]] == [
        "Attempt 1 failed (network):",
        "Attempt 2 failed (network):",
    ]
    assert report["next_steps"]["requires_escalation"] is True
    assert report["next_steps"]["reason"].endswith("3 of 3 attempts failed")
    assert report["next_steps"]["suggested_action"].endswith("; then haikud retry never")
    assert house.log("never").count("\nretry ") == 2
    ended = datetime.fromisoformat(response["timestamp"]) + timedelta(seconds=1)
    for name in ("first", "second"):
        other = house.response(name)
        assert other["status"] == "success"
        assert datetime.fromisoformat(other["timestamp"]) < ended
