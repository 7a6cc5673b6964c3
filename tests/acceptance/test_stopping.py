"""Draining, ending and detaching; what the next daemon adopts; controls while it runs."""

from __future__ import annotations

import os
import signal

import pytest
from tests.support.house import GATED, House
from tests.support.waiting import wait_until

STUBBORN = r"""
trap '' TERM
setsid bash -c 'trap "" TERM; (exec -a stray sleep 300) & touch "$HAIKUD_OUT/stray"; wait' &
touch "$HAIKUD_OUT/here"
while true; do sleep 0.1; done
"""


@pytest.fixture
def gated(house: House) -> House:
    house.role("gated", GATED.format(gate=house.root / "gate") + "; echo over")
    return house


def open_gate(house: House) -> None:
    (house.root / "gate").touch()


def drain_by_ctrl_c(house: House) -> None:
    house.send(signal.SIGINT)


def drain_by_command(house: House) -> None:
    assert house.haikud("stop").returncode == 0


@pytest.mark.parametrize("drain", [drain_by_ctrl_c, drain_by_command])
def test_a_drain_starts_nothing_new_and_ends_when_the_last_agent_has(gated: House, drain):
    gated.settings = {"max_agents": 1}
    gated.start()
    gated.request("first", role="gated")
    gated.at_work("first")
    gated.request("second", role="gated")
    wait_until(lambda: gated.state("second") == "queued", what="the second to be queued")
    drain(gated)
    wait_until(lambda: (gated.read("status.json") or {})["daemon"]["state"] == "draining", what="draining")
    assert gated.process is not None
    assert gated.process.poll() is None
    open_gate(gated)
    assert gated.ended() == 0
    assert gated.response("first")["status"] == "success"
    assert gated.state("second") == "queued"
    assert "drain" in gated.said()
    gated.start()
    assert gated.response("second")["status"] == "success"


def end_by_ctrl_c_twice(house: House) -> None:
    house.send(signal.SIGINT)
    wait_until(lambda: (house.read("status.json") or {})["daemon"]["state"] == "draining", what="draining")
    house.send(signal.SIGINT)


def end_by_command(house: House) -> None:
    assert house.haikud("stop", "--now").returncode == 0


@pytest.mark.parametrize("end", [end_by_ctrl_c_twice, end_by_command])
def test_stop_now_ends_agents_with_their_trees_and_costs_no_retry(house: House, end):
    house.role("stubborn", STUBBORN)
    house.start()
    house.request("hard", role="stubborn")
    house.at_work("hard")
    house.at_work("hard", name="stray")
    end(house)
    assert house.ended(seconds=40) == 0
    assert house.leftovers() == []
    last = house.decisions("hard", "hard")[-1]
    assert (last["state"], last["outcome"], last["failures"]) == ("queued", "interrupted", 0)
    house.role("stubborn", "true")
    house.start()
    response = house.response("hard")
    assert response["status"] == "success"
    assert response["payload"]["attempts"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_goes_leaves_its_agents_alone_and_the_next_one_adopts_them(gated: House, number: int):
    gated.start()
    gated.request("kept", role="gated")
    gated.at_work("kept")
    runner = gated.runner_pid("kept")
    gated.send(number)
    gated.ended()
    assert runner in [process.pid for process in gated.leftovers()]
    gated.start()
    wait_until(lambda: "adopted" in gated.said(), what="the adoption")
    open_gate(gated)
    response = gated.response("kept")
    assert response["status"] == "success"
    assert response["payload"]["attempts"] == 1
    assert gated.log("kept").count("over") == 1


def test_an_agent_that_finished_while_no_daemon_ran_is_settled_by_the_next(gated: House):
    gated.start()
    gated.request("alone", role="gated")
    gated.at_work("alone")
    gated.send(signal.SIGTERM)
    assert gated.ended() == 0
    open_gate(gated)
    wait_until(lambda: not gated.leftovers(), what="the agent's end")
    assert gated.read("responses/alone.json") is None
    gated.start()
    assert gated.response("alone")["payload"]["attempts"] == 1


def test_a_runner_that_was_killed_is_noticed_and_the_task_goes_on(gated: House):
    gated.start()
    gated.request("shot", role="gated")
    gated.at_work("shot")
    os.kill(gated.runner_pid("shot"), signal.SIGKILL)
    gated.at_work("shot", attempt=2)
    open_gate(gated)
    response = gated.response("shot")
    assert response["status"] == "success"
    assert response["payload"]["attempts"] == 2
    assert not [p for p in gated.leftovers() if "attempt-1" in p.environ().get("HAIKUD_OUT", "")]


def test_cancel_ends_the_tree_of_an_agent_that_ignores_term(house: House):
    house.role("stubborn", STUBBORN)
    house.start()
    house.request("stop-it", role="stubborn")
    house.at_work("stop-it", name="stray")
    assert house.haikud("cancel", "stop-it").returncode == 0
    response = house.response("stop-it")
    assert response["status"] == "cancelled"
    assert house.leftovers() == []
    assert house.haikud("wait", "stop-it", "--timeout", "5").returncode == 6


def test_pause_resume_and_retry(gated: House):
    gated.settings = {"max_agents": 1}
    gated.role("breaks", f'[ -e "{gated.root}/mended" ]')
    gated.start()
    gated.request("busy", role="gated")
    gated.at_work("busy")
    gated.request("idle", role="breaks")
    wait_until(lambda: gated.state("idle") == "queued", what="the task to be queued")
    assert gated.haikud("pause", "idle").returncode == 0
    wait_until(lambda: gated.state("idle") == "paused", what="the pause")
    open_gate(gated)
    gated.response("busy")
    assert gated.state("idle") == "paused"
    assert gated.haikud("resume", "idle").returncode == 0
    assert gated.response("idle")["status"] == "failure"
    (gated.root / "mended").touch()
    assert gated.haikud("retry", "idle").returncode == 0
    wait_until(lambda: (gated.read("responses/idle.json") or {}).get("status") == "success", what="the retry's answer")
    old = gated.read("plans/idle/idle/response.1.json")
    assert old is not None
    assert old["status"] == "failure"


def test_a_paused_queue_starts_nothing_and_stays_paused_over_a_restart(gated: House):
    gated.start()
    gated.drop("control", "all.pause", "")
    wait_until(lambda: (gated.read("status.json") or {}).get("paused"), what="the pause in status.json")
    gated.send(signal.SIGTERM)
    gated.ended()
    gated.start()
    open_gate(gated)
    gated.request("held", role="gated")
    wait_until(lambda: gated.state("held") == "queued", what="the task to be queued")
    assert (gated.read("status.json") or {})["paused"]
    gated.drop("control", "all.resume", "")
    assert gated.response("held")["status"] == "success"


def test_time_limits_end_the_attempt_tree_and_all(house: House):
    house.settings = {"limits": {"attempt_seconds": 1.0}}
    house.role("stubborn", STUBBORN)
    house.start()
    house.request("late", role="stubborn")
    response = house.response("late")
    assert response["status"] == "failure"
    assert response["payload"]["error_report"]["type"] == "timeout"
    assert house.leftovers() == []


def test_an_agent_that_removes_its_attempts_folder_ends_at_its_limit_and_holds_nobody_up(house: House):
    house.settings = {"limits": {"attempt_seconds": 1.0}}
    house.role("vandal", 'rm -rf "$(dirname "$HAIKUD_OUT")"; sleep 300')
    house.start()
    house.request("rude", role="vandal")
    assert house.response("rude")["payload"]["error_report"]["type"] == "timeout"
    assert house.leftovers() == []


def test_a_second_daemon_on_the_same_spool_says_who_holds_it(house: House):
    house.start()
    assert house.process is not None
    second = house.haikud("run", "--spool", str(house.spool))
    assert second.returncode == 1
    assert str(house.process.pid) in second.stderr


def test_a_daemon_whose_spool_was_replaced_leaves_it_to_the_new_one(house: House):
    house.role("worker", "true")
    first = house.start().process
    house.spool.rename(house.root / "moved away")
    house.start()
    assert first is not None
    assert first.wait(timeout=20) == 0
    house.request("served", role="worker")
    assert house.response("served")["status"] == "success"
    assert "the spool was replaced" in house.said()
