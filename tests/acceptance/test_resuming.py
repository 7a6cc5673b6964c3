"""Runners, trees and the daemon killed at work: the built-in agent goes on where it was, and every dollar is counted."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import psutil
from tests.support.house import House
from tests.support.processes import members
from tests.support.repository import TEST_COMMAND, git
from tests.support.scripts import DONE, EDIT, WRITE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi
from haikud.spool.agent_log import tokens_told

KEY = "sk-ant-scripted-0123456789"
REF = "long"


def bash(command: str, **turn: Any) -> dict[str, Any]:
    return {"tools": [{"name": "bash", "input": {"command": command}}], **turn}


def half_run(name: str) -> dict[str, Any]:
    """A command with an effect, which then takes for ever."""
    return bash(f'echo {name} >> effects.txt; touch "$HAIKUD_OUT/{name}"; sleep 300')


STALLS = {"kind": "stall", "seconds": 300, "after_events": 4, "times": 1}
TURNS = [
    dict(EDIT),
    dict(WRITE),
    bash("echo three >> effects.txt"),
    bash("echo four >> effects.txt"),
    half_run("five"),  # attempt 1: the runner is killed
    {
        **bash("echo six >> effects.txt"),
        "fault": STALLS,
    },  # attempt 2: the runner and its tree, in the middle of a stream
    half_run("seven"),  # attempt 3: daemon, runner and tree
    bash("git restore --staged . ; git add calc.py && python3 -m unittest -q && git commit -q -m 'Add sub'"),
    dict(DONE),
]


def kill_tree(house: House, attempt: int) -> None:
    """Everything that bears the attempt's mark, in no particular order, but who has ended by himself meanwhile."""
    for process in members(str(house.task_folder(REF) / f"attempt-{attempt}" / "out")):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_it_goes_on_where_it_was_killed_and_every_call_is_paid_once(house: House):
    with ScriptedApi(parse_scenario(scenario(conversation(*TURNS)))) as api:
        house.environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.base_url}
        house.settings = {"api": {"stall_seconds": 60.0}}
        house.start()
        house.request(REF, title="Add sub", files=["calc.py"], context={"test_command": TEST_COMMAND})

        house.at_work(REF, 1, name="five")
        os.kill(house.runner_pid(REF, 1), signal.SIGKILL)

        wait_until(lambda: len(api.journal) == 6, seconds=60, what=lambda: f"the sixth call; {house.tail()}")
        wait_until(lambda: api.journal[5].events_sent >= 3, what="the answer to have begun")
        os.kill(house.runner_pid(REF, 2), signal.SIGKILL)
        kill_tree(house, 2)

        house.at_work(REF, 3, name="seven")
        house.send(signal.SIGKILL)
        os.kill(house.runner_pid(REF, 3), signal.SIGKILL)
        kill_tree(house, 3)
        house.ended()
        house.start()
        response = house.response(REF)

        asked = [exchange.turn for exchange in api.journal]
        assert asked == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9]  # only the call that was cut off is made again
        told = str(api.journal[5].body["messages"][-1])
        assert "may or may not have happened" in told
        assert api.journal[6].body["messages"] == api.journal[5].body["messages"]

    assert response["status"] == "success", house.tail()
    assert response["payload"]["attempts"] == 4
    worktree = house.repository / response["payload"]["worktree"]
    assert (worktree / "effects.txt").read_text().split() == ["three", "four", "five", "six", "seven"]
    assert int(git(house.repository, "rev-list", "--count", f"main..feature/{REF}")) >= 1
    outcomes = [one["outcome"] for one in house.decisions(REF) if one.get("outcome")]
    assert outcomes == ["killed", "killed", "orphaned", "completed"]

    # What the API charged for nine whole answers, and the most that the one which was cut off can have cost.
    charged = sum(
        sum(value for name, value in exchange.usage.items() if name.endswith("_tokens") and isinstance(value, int))
        for exchange in api.journal
        if exchange.complete and exchange.usage
    )
    metrics = response["metrics"]
    assert charged < metrics["tokens_used"] < charged + 30_000
    assert tokens_told(house.spool / "logs" / f"agent-{REF}.log") == 0  # a symlink is not followed
    assert tokens_told(house.spool / f"plans/{REF}/{REF}/agent.log") == metrics["tokens_used"]
    assert response["payload"]["agent_costs"]["total_cost"] > 0
