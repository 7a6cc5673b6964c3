"""A monitor's order and the built-in agent: obeyed at a turn boundary, and a call that never ends is cut."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.made import make_given
from tests.support.messages_double import Answer, MessagesDouble, Silence, calls, says

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.bash import Shell
from haikud.agent.haiku.tools.registry import Toolbox
from haikud.contracts.attempt import AttemptEvent
from haikud.contracts.settings import LimitSettings, MonitorSettings
from haikud.contracts.states import Phase
from haikud.engine.monitors.judge import judge
from haikud.engine.monitors.watch import Watch, follow
from haikud.sandbox.isolation import NO_SANDBOX
from haikud.spool.agent_log import AgentLog
from haikud.spool.models import iter_lines


def test_it_ends_at_the_next_turn_and_goes_on_with_guidance(desk):
    steps = [calls("bash", "toolu_1", command="echo first"), says("Thank you, done.")]
    turns: list[int] = []

    def at_turn() -> bool:
        turns.append(1)
        return len(turns) > 1

    with MessagesDouble(steps) as api:
        end = desk.run(api.base_url, at_turn=at_turn)
        assert end.kind == "intervened"
        assert len(api.journal) == 1  # the tool of the turn was run, and no further call made
        again = desk.run(api.base_url, guidance=[make_given("Look into src/.", question="A monitor stopped it")])
        assert again.kind == "done"
        last = api.journal[-1].body["messages"][-1]
    words = [part["text"] for part in last["content"] if part["type"] == "text"]
    assert words == ['Guidance from the requester, to the question "A monitor stopped it": Look into src/.']
    assert last["content"][0]["type"] == "tool_result"


def test_a_call_that_says_nothing_is_cut_and_paid(desk):
    silent = Answer([{"type": "text", "text": "I think"}], broken="stall", events=3)
    with MessagesDouble([silent, Silence()]) as api:
        began = time.monotonic()
        end = desk.run(
            api.base_url, api={"stall_seconds": 30}, cuts_call=lambda: True, at_turn=lambda: bool(api.journal)
        )
    assert end.kind == "intervened"
    assert time.monotonic() - began < 15
    assert end.usage.requests == 1


def test_what_monitors_need_is_among_the_events(desk):
    fail = {"command": "echo 'Error: no such module'; exit 1"}
    steps = [
        calls("bash", "toolu_1", **fail),
        calls("bash", "toolu_2", **fail),
        calls("bash", "toolu_3", command="python3 -m unittest; exit 0 # 1 failed"),
        calls("report_progress", "toolu_4", percent=50, message="half"),
        says("Done."),
    ]
    with MessagesDouble(steps) as api:
        desk.run(api.base_url)
    watch = Watch()
    for event in iter_lines(desk.folder / "events.jsonl", AttemptEvent):
        watch = follow(watch, event, event.clock or 0.0)
    digests = [one.digest for one in watch.operations]
    assert len(digests) == 3
    assert digests[0] == digests[1] != digests[2]
    assert watch.error is None  # a passing run of the tests ended it
    results = desk.events("result")
    assert [one.get("error") for one in results] == ["Error: no such module"] * 2 + [None]
    assert results[2]["tests"] == "passing"


def test_a_quiet_tool_command_is_no_silence_and_what_follows_it_is(tmp_path: Path):
    (tmp_path / "out").mkdir()
    log, path = AgentLog(tmp_path / "agent.log"), tmp_path / "events.jsonl"
    settings = MonitorSettings.model_validate({"silence_seconds": 0.2})
    limits = LimitSettings.model_validate({"tool_seconds": 20, "grace_seconds": 0.2})
    environment = {"PATH": "/usr/bin:/bin", "HAIKUD_OUT": str(tmp_path / "out")}
    events = EventLog(path)
    found: list[int] = []

    def look() -> Watch:
        watch = Watch()
        for event in iter_lines(path, AttemptEvent):
            watch = follow(watch, event, event.clock or 0.0)
        return watch

    def stop() -> bool:
        found.append(len(judge(look(), settings, time.monotonic())))
        return False

    shell = Shell(tmp_path, environment, limits, NO_SANDBOX, log, events, stop, settings)
    events.phase(Phase.IMPLEMENT, 10)
    Toolbox(["bash"], shell).use({"name": "bash", "input": {"command": "sleep 0.6"}})
    assert len(found) > 5
    assert not any(found)
    at_end = look()
    assert judge(at_end, settings, at_end.life_at + 0.1) == []
    assert len(judge(at_end, settings, at_end.life_at + 0.21)) == 1
