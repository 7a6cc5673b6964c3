"""`haikud status`, with and without a daemon."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.interfaces.conftest import FakeSpool

from haikud.contracts.base import format_time, utc_now
from haikud.interfaces.picture import read_picture
from haikud.interfaces.picture_faults import all_faults
from haikud.interfaces.picture_live import draw
from haikud.interfaces.picture_text import picture_lines


def test_without_a_daemon_it_says_so_and_reads_the_links(spool: FakeSpool):
    spool.admit("one", "running")
    spool.admit("many", "succeeded", "queued", "waiting")
    spool.live({"ref": "one", "plan": "one", "title": "The title", "state": "queued", "cost_usd": 0.04}, pid=1)
    (spool.layout.incoming / "late.json").write_text("{}")
    done = spool.run("status")
    assert done.exit_code == 0
    assert f"No daemon runs on {spool.root}; start it: haikud run --spool {spool.root}" in done.output
    assert "running   one      The title - $0.040 so far" in done.output
    assert "queued    many.t2" in done.output
    assert "Counts: 1 running, 1 queued, 1 waiting, 1 succeeded" in done.output
    assert "In incoming/, not admitted yet: 1" in done.output


def test_a_pause_that_a_running_task_has_not_come_to_is_shown(spool: FakeSpool, daemon: int):
    task = {"ref": "p", "plan": "p", "title": "T", "state": "running", "message": "step 2", "cost_usd": 0}
    for reason, shown in (("started", "step 2"), ("asked to pause: soon", "asked to pause: soon"), (None, "step 2")):
        spool.live({**task, "reason": reason}, pid=daemon)
        assert f"T - $0.000 so far, {shown}" in spool.run("status").output


def test_with_a_daemon_it_shows_the_daemons_picture(spool: FakeSpool, daemon: int):
    started = format_time(utc_now())
    running = {"ref": "p.a", "plan": "p", "title": "Auth page", "state": "running", "phase": "validate", "percent": 80}
    spool.live(
        {"ref": "p.b", "plan": "p", "title": "Dashboard", "state": "succeeded", "cost_usd": 0.04},
        {**running, "cost_usd": 0.02, "started_at": started, "message": "Running tests"},
        {"ref": "p.c", "plan": "p", "title": "Charts", "state": "escalated", "reason": "which?"},
        {"ref": "p.d", "plan": "p", "title": "Later", "state": "deferred", "retry_at": "2026-11-23T11:00:00Z"},
        pid=daemon,
        cost_usd=0.06,
        day_cost_usd=0.5,
        paused="the API's limits",
        paused_until="2026-11-23T11:00:00Z",
        trouble=["the disk is full"],
    )
    told = spool.run("status").output.splitlines()
    assert told[0] == f"haikud 0.1.0 on {spool.root}: running, pid {daemon}, 1 of 8 agents at work, sandbox none"
    assert told[1] == "The queue is paused (the API's limits) until 2026-11-23T11:00:00Z"
    assert told[2] == "Fault: the disk is full"
    assert told[4].startswith("  running   p.a  Auth page - $0.020 so far, validate 80%, 0 s, Running tests")
    assert told[5] == '  escalated p.c  Charts - answer it: haikud answer p.c "TEXT", which?'
    assert told[6] == "  deferred  p.d  Later - until 2026-11-23T11:00:00Z"
    assert told[7] == "  succeeded p.b  Dashboard - $0.040"
    assert "Running Cost: $0.060 (today: $0.500)" in told
    assert told[-1].startswith("Time Elapsed: ")


def test_what_a_monitor_saw_is_shown_while_the_agent_runs(spool: FakeSpool, daemon: int):
    seen = {"trigger": "silence", "message": "no sign of the agent for 300 s", "action": "escalate"}
    task = {"ref": "p", "plan": "p", "title": "T", "state": "running", "phase": "implement", "interventions": [seen]}
    spool.live(task, pid=daemon)
    words = "monitor: no sign of the agent for 300 s"
    assert words in spool.run("status").stdout
    console = Console(width=160)
    with console.capture() as drawn:
        console.print(draw(read_picture(spool.layout), rows=9, columns=160))
    assert words in drawn.get()


def test_faults_are_shown_with_since_when_and_the_cure(spool: FakeSpool, daemon: int):
    since = format_time(utc_now() - timedelta(minutes=3, seconds=5))
    fault = {"kind": "no_space", "doing": "taking requests", "message": "0 KiB are free", "cure": "free some room"}
    spool.live(pid=daemon, faults=[{**fault, "since": since, "holds_work": True}], trouble=["x"], held="too many")
    told = spool.run("status").output.splitlines()
    assert told[1] == "Nothing new is started: too many"
    assert told[2].startswith("Fault for 3 min ")
    assert told[2].endswith("no work is taken: no_space: taking requests: 0 KiB are free")
    assert told[3] == "  Cure: free some room"
    picture = json.loads(spool.run("status", "--json").stdout)
    assert [one["kind"] for one in picture["faults"]] == ["no_space"]
    assert picture["filesystem"]["read_only"] is False
    assert picture["filesystem"]["free_bytes"] > 0


def test_what_the_daemon_cannot_say_is_seen_here(spool: FakeSpool):
    seen = {"read_only": True, "free_bytes": 7}
    (fault,) = all_faults(spool.layout, None, seen)
    assert (fault["kind"], fault["since"]) == ("read_only", None)
    assert "remount" in fault["cure"]
    assert all_faults(spool.layout, [{"kind": "read_only", "since": "x"}], seen) == [
        {"kind": "read_only", "since": "x"}
    ]
    assert [one["kind"] for one in all_faults(spool.layout, [], {"read_only": False, "free_bytes": 7})] == ["no_space"]


def test_a_picture_that_an_earlier_daemon_left_is_not_taken_for_this_ones(spool: FakeSpool, daemon: int):
    spool.admit("one", "queued")
    spool.live({"ref": "gone", "plan": "gone", "title": "x", "state": "running"}, pid=daemon + 1)
    output = spool.run("status").output
    assert "has not shown its picture yet" in output
    assert "gone" not in output
    assert "queued    one" in output


def test_json_is_for_programs(spool: FakeSpool):
    spool.admit("one", "failed")
    spool.admit("two", "paused")
    picture = json.loads(spool.run("status", "--json").stdout)
    assert picture["daemon_pid"] is None
    assert picture["counts"]["failed"] == 1
    assert [task["ref"] for task in picture["tasks"]] == ["two"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"tasks": 3, "daemon": 4}', '{"tasks": [1, {}], "counts": []}'])
def test_a_broken_status_file_breaks_nothing(spool: FakeSpool, daemon: int, content: str):
    spool.layout.status_file.write_text(content)
    assert spool.run("status").exit_code == 0


def test_a_long_queue_is_cut(spool: FakeSpool):
    tasks = [{"ref": f"p.t{n}", "plan": "p", "title": "", "state": "queued"} for n in range(60)]
    told = list(picture_lines({"spool": "/s", "tasks": tasks, "tasks_left_out": 5, "daemon_pid": None}, colour=False))
    assert "  and 25 more: haikud status --json" in told


@pytest.mark.parametrize("width", [40, 60, 100])
def test_on_a_narrow_terminal_a_task_keeps_to_its_line_and_its_news_go_before_its_title(width: int):
    task = {"ref": "p.a", "plan": "p", "title": "A title of many words " * 4, "state": "running", "phase": "validate"}
    picture = {"spool": "/s", "daemon_pid": None, "tasks": [{**task, "percent": 80, "cost_usd": 0.02}]}
    line = list(picture_lines(picture, colour=False, width=width))[2]
    assert len(line) <= width
    assert line.startswith("  running   p.a  A title")
    assert ("$0.020 so far, validate 80%" in line) == (width > 40)


def test_watch_needs_a_terminal(spool: FakeSpool):
    done = spool.run("status", "--watch")
    assert done.exit_code == 2
    assert "haikud status --json" in done.output


def test_the_live_view_has_phase_bar_and_cost(spool: FakeSpool, daemon: int):
    running = {"ref": "p.a", "plan": "p", "title": "[bold]Auth", "state": "running", "phase": "validate", "percent": 50}
    spool.live({**running, "cost_usd": 0.02}, *({**running, "ref": f"p.{n}"} for n in range(5)), pid=daemon)
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as shown:
        console.print(draw(read_picture(spool.layout), rows=3))
    text = shown.get()
    assert "[bold]Auth" in text
    assert "validate" in text
    assert "━" in text
    assert "$0.020" in text
    assert "50%" in text
    assert "and 3 more" in text


@pytest.mark.parametrize("width", [30, 50, 80, 120])
def test_the_live_view_shows_every_cost_whole_and_starts_its_columns_in_one_place(width: int):
    task = {"ref": "p.a", "title": "A page for the dashboard", "cost_usd": 0.00123, "reason": "waits for p.b"}
    tasks = [{**task, "state": state} for state in ("running", "queued", "failed")]
    picture = {"spool": "/s", "tasks": tasks, "daemon_pid": None}
    console = Console(width=width, force_terminal=False)
    with console.capture() as shown:
        console.print(draw(picture, rows=9, columns=width))
    rows = [line for line in shown.get().splitlines() if "$0.0012" in line]
    assert len(rows) == 3
    places = {cell_len(row[: row.index(word)]) for row, word in zip(rows, ("Running", "Queued", "Failed"), strict=True)}
    assert places == {3}
