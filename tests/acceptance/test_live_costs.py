"""The cost block of a plan that runs, from outside: in status.json, over a restart of the daemon, and as text."""

from __future__ import annotations

from typing import Any

from tests.support.house import GATED, House
from tests.support.waiting import wait_until


def plan_in_sight(house: House, **counts: int) -> dict[str, Any] | None:
    """The plan as status.json has it, once its tasks are in these states."""
    plans = (house.read("status.json") or {}).get("plans", [])
    return next((plan for plan in plans if plan["counts"] == counts), None)


def test_a_running_plans_block_outlives_the_daemon(house: House):
    house.role("gated", GATED.format(gate=house.root / "gate"), workspace="none")
    house.role("quick", 'echo "{\\"summary\\": \\"done\\"}" > "$HAIKUD_OUT/result.json"', workspace="none")
    house.start()
    tasks = [{"id": "one", "title": "Auth page", "role": "quick"}, {"id": "two", "title": "Dashboard", "role": "gated"}]
    house.drop("incoming", "pages.json", {"task_plan": {"id": "pages", "tasks": tasks}})
    before = wait_until(lambda: plan_in_sight(house, succeeded=1, running=1), what="one task done, one at work")
    # Command agents without a credential call no model: what they cost is known, how long they take is not yet.
    assert (before["cost_usd"], before["estimated_total_usd"], before["estimated_seconds_left"]) == (0, 0, None)
    assert before["no_estimate_for"] == ["gated"]
    house.kill()
    house.start()
    wait_until(lambda: house.read("status.json")["daemon"]["pid"] == house.process.pid, what="the new daemon's picture")
    after = wait_until(lambda: plan_in_sight(house, succeeded=1, running=1), what="the plan again")
    assert after["elapsed_seconds"] >= before["elapsed_seconds"]
    status = house.haikud("status")
    lines = status.stdout.splitlines()
    assert any(line.startswith("  succeeded pages.one  Auth page - $0.000") for line in lines), status.stdout
    assert any(line.startswith("  running   pages.two  Dashboard - $0.000 so far") for line in lines), status.stdout
    assert "No estimate of the time yet: no finished task of role gated" in lines
    (house.root / "gate").touch()
    house.response("pages")
    # What the first ones took is what the next one is estimated by.
    (house.root / "gate").unlink()
    house.drop("incoming", "more.json", {"task_plan": {"id": "more", "tasks": tasks[1:]}})
    again = wait_until(lambda: plan_in_sight(house, running=1), what="another one at work")
    assert again["estimate_from"] == {"gated": 1}
    assert again["estimated_seconds_left"] >= 0
    (house.root / "gate").touch()
    house.response("more")
