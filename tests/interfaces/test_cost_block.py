"""The guide's cost block in `haikud status`, its live view and `haikud wait`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from tests.interfaces.conftest import FakeSpool, on_terminal

from haikud.contracts.base import format_time, utc_now
from haikud.interfaces.picture import read_picture
from haikud.interfaces.picture_costs import cost_lines, plan_lines, with_age
from haikud.interfaces.picture_live import draw
from haikud.interfaces.picture_task import task_line
from haikud.interfaces.plain import cells, cut
from haikud.interfaces.wait_block import block_lines

ROLE = "parallel-task-executor"
WHOLE = {
    "cost_usd": 0.07,
    "sonnet_cost_usd": 0.45,
    "savings_usd": 0.38,
    "savings_percent": 84.4,
    "estimated_total_usd": 0.12,
    "estimated_sonnet_usd": 0.78,
    "estimated_savings_usd": 0.66,
    "estimated_savings_percent": 84.6,
    "elapsed_seconds": 120.0,
    "estimated_seconds_left": 180.0,
    "estimate_from": {ROLE: 1},
    "no_estimate_for": [],
}
NONE = {"estimated_total_usd": None, "estimated_sonnet_usd": None, "estimated_seconds_left": None}
UNKNOWN = {**WHOLE, **NONE, "estimated_savings_usd": None, "estimate_from": {}, "no_estimate_for": [ROLE]}
PLAN = {**WHOLE, "id": "p", "title": "Pages", "counts": {"succeeded": 1, "running": 2}}


def line(name: str, title: str, state: str, usd: float) -> dict[str, Any]:
    return {
        "ref": f"p.{name}",
        "plan": "p",
        "title": title,
        "state": state,
        "model_family": "Haiku",
        "cost_usd": usd,
    }


TASKS = [
    line("auth", "Auth page", "succeeded", 0.04),
    line("dash", "Dashboard", "running", 0.02),
    line("stat", "Analytics", "running", 0.01),
]


def put(spool: FakeSpool, pid: int, *, age: float = -60.0, **more: Any) -> None:
    """The guide's example, as status.json said it so many seconds ago; by default it does not age while we look."""
    at = format_time(utc_now() - timedelta(seconds=age))
    spool.live(*TASKS, pid=pid, updated_at=at, plans=[PLAN], all_plans=WHOLE, day_cost_usd=0.5, **more)


def test_the_guides_block_on_a_terminal(spool: FakeSpool, daemon: int):
    put(spool, daemon)
    code, shown = on_terminal(spool, "status")
    assert code == 0
    told = shown.splitlines()[1:]
    # The guide's lines, with three decimals and the ref; what it writes in bold is plain here.
    assert told == [
        "\U0001f680 Parallel Execution in Progress",
        "Tasks:",
        "\u23f3 p.dash  Dashboard (Haiku) - \x1b[36mRunning\x1b[0m - $0.020 so far",
        "\u23f3 p.stat  Analytics (Haiku) - \x1b[36mRunning\x1b[0m - $0.010 so far",
        "\u2705 p.auth  Auth page (Haiku) - \x1b[32mComplete\x1b[0m - $0.040",
        "Counts: 2 running, 1 succeeded",
        "Running Cost: $0.070 (today: $0.500)",
        f"Estimated Total: $0.120, from 1 finished task of {ROLE}",
        "Estimated Savings: $0.660 (84.6%) vs all-Sonnet approach",
        "Time Elapsed: 2 min 0 s",
        "Estimated Time Remaining: 3 min 0 s",
    ]


def test_in_a_pipe_the_block_is_plain_ascii(spool: FakeSpool, daemon: int):
    put(spool, daemon)
    told = spool.run("status").stdout
    assert told.isascii()
    assert "  running   p.dash  Dashboard (Haiku) - $0.020 so far" in told.splitlines()
    assert "  succeeded p.auth  Auth page (Haiku) - $0.040" in told.splitlines()
    assert "Estimated Savings: $0.660 (84.6%) vs all-Sonnet approach" in told.splitlines()


def test_where_a_terminal_cannot_show_marks_there_are_words(spool: FakeSpool, daemon: int):
    put(spool, daemon)
    latin = {"PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "0"}
    _, shown = on_terminal(spool, "status", **latin)
    assert shown.isascii()
    assert "  running   p.dash  Dashboard (Haiku) - $0.020 so far" in shown.splitlines()
    _, shown = on_terminal(spool, "wait", "p", "--timeout", "0.3", **latin)
    assert shown.isascii()
    assert "  running   p.dash  Dashboard (Haiku) - $0.020 so far" in shown.splitlines()


def test_json_has_the_same_figures_as_of_now(spool: FakeSpool, daemon: int):
    put(spool, daemon, age=30)
    told = json.loads(spool.run("status", "--json").stdout)
    for costs in (told["plans"][0], told["all_plans"]):
        assert costs["cost_usd"] == 0.07
        assert costs["estimated_savings_usd"] == 0.66
        assert 150 <= costs["elapsed_seconds"] < 155  # 120 s, 30 s ago
        assert 145 < costs["estimated_seconds_left"] <= 150


def test_time_goes_on_between_two_pictures_and_never_below_none():
    moved = with_age(WHOLE, 200, is_running=True)
    assert (moved["elapsed_seconds"], moved["estimated_seconds_left"]) == (320, 0)
    assert with_age(WHOLE, 200, is_running=False)["estimated_seconds_left"] == 180
    assert with_age(WHOLE, -5, is_running=True) == with_age(WHOLE, None, is_running=True) == WHOLE
    assert with_age({"elapsed_seconds": "x"}, 5, is_running=True) == {"elapsed_seconds": "x"}


def test_without_a_finished_task_of_the_role_it_says_so_and_shows_what_is_known():
    assert list(cost_lines(UNKNOWN)) == [
        "Running Cost: $0.070",
        "Savings so far: $0.380 (84.4%) vs all-Sonnet approach",
        "Time Elapsed: 2 min 0 s",
        f"No estimate yet: no finished task of role {ROLE}",
    ]


def test_what_costs_nothing_is_compared_with_nothing():
    free = {**UNKNOWN, "cost_usd": 0.0, "sonnet_cost_usd": 0.0, "estimated_total_usd": 0.0, "estimated_sonnet_usd": 0.0}
    assert list(cost_lines(free)) == [
        "Running Cost: $0.000",
        "Estimated Total: $0.000",
        "Time Elapsed: 2 min 0 s",
        f"No estimate of the time yet: no finished task of role {ROLE}",
    ]


def test_dearer_than_sonnet_overdue_and_waiting_for_answers_are_said():
    odd = {**WHOLE, "estimated_savings_usd": -0.01, "estimated_savings_percent": -9.1, "estimated_seconds_left": 0}
    told = list(cost_lines(odd, questions=2))
    assert "Estimated Savings: -$0.010 (-9.1%) vs all-Sonnet approach" in told
    assert "Estimated Time Remaining: 0 s (it takes longer than its like did), if 2 questions are answered now" in told


@pytest.mark.parametrize("odd", [{}, {"estimate_from": 3, "no_estimate_for": {}}, dict.fromkeys(WHOLE, "x")])
def test_odd_figures_break_nothing(odd: dict[str, Any]):
    told = list(cost_lines(odd))
    assert told[0] == "Running Cost: $0.000"


def test_several_open_plans_have_a_line_each():
    assert list(plan_lines({"plans": [PLAN]}, 0)) == []
    second = {"id": "other", "counts": {"queued": 2}, "cost_usd": 0.0, **NONE}
    assert list(plan_lines({"plans": [PLAN, second], "plans_left_out": 3}, 0)) == [
        "Plans:",
        "  p      Pages - 1 of 3 complete, $0.070 so far, about $0.120 in all, about 3 min 0 s left",
        "  other  0 of 2 complete, $0.000 so far",
        "  and 3 more plans: haikud status --json",
    ]
    narrow = list(plan_lines({"plans": [PLAN, second]}, 30))
    assert narrow[1:] == ["  p      Pages - 1 of 3 compl\u2026", "  other  0 of 2 complete, $0.\u2026"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_live_view_has_the_block_too(spool: FakeSpool, daemon: int, columns: int):
    put(spool, daemon)
    console = Console(width=columns, force_terminal=False)
    with console.capture() as drawn:
        console.print(draw(read_picture(spool.layout), rows=9, columns=columns))
    told = drawn.get().splitlines()
    assert any(row.startswith("\u2705 Complete") and "$0.040" in row for row in told)
    assert any("(Haiku)" in row for row in told) == (columns >= 80)
    assert "Estimated Time Remaining: 3 min 0 s" in [row.rstrip() for row in told]
    with console.capture() as drawn:
        console.print(draw(read_picture(spool.layout), rows=9, columns=columns, marks=False))
    assert "\u2705" not in drawn.get()


def test_wait_draws_the_block_of_its_plan_in_place_and_takes_it_away(spool: FakeSpool, daemon: int):
    spool.admit("p", "succeeded", "running", "running")
    put(spool, daemon)
    code, shown = on_terminal(spool, "wait", "p", "--timeout", "1.5")
    assert code == 4
    first, second, end = shown.split("\x1b[10A\r\x1b[J")  # drawn, drawn again after a second, taken away
    assert first.startswith("\r\x1b[J\U0001f680 Parallel Execution in Progress\nTasks:\n")
    assert second.splitlines()[4] == "\u2705 p.auth  Auth page (Haiku) - \x1b[32mComplete\x1b[0m - $0.040"
    assert "Estimated Savings: $0.660 (84.6%) vs all-Sonnet approach\n" in second
    assert end.startswith("haikud: no answer after 1.5 s")


@pytest.mark.parametrize(("columns", "rows"), [(30, 12), (80, 24), (200, 60)])
def test_the_block_keeps_to_its_terminal(columns: int, rows: int):
    many = [line(f"t{n}", "\u4f60\u597d " * 30, "running", 0.01) for n in range(100)]
    plan = {**PLAN, "counts": {"running": 100, "succeeded": 60}, "no_estimate_for": ["r" * 90]}
    told = list(block_lines({"tasks": many, "plans": [plan]}, "p", columns=columns, rows=rows, marks=False))
    assert len(told) <= rows
    assert all(cells(text) <= max(columns, 30) for text in told)
    shown = sum("p.t" in text for text in told)
    assert f"  and {160 - shown} more" in told


def test_who_waits_for_a_task_sees_that_task():
    told = list(block_lines({"tasks": TASKS, "plans": [PLAN]}, "p.dash", columns=80, rows=20, marks=False))
    assert told == ["Tasks:", "  running   p.dash  Dashboard (Haiku) - $0.020 so far", "Running Cost: $0.020"]
    assert list(block_lines({"tasks": TASKS}, "q", columns=80, rows=20)) == []


def test_a_pause_and_a_fault_are_in_the_block():
    live = {"tasks": TASKS, "paused": "the API's limits", "faults": [{"kind": "no_space", "cure": "free some room"}]}
    told = list(block_lines(live, "p", columns=80, rows=20, marks=False))
    assert told[0] == "The queue is paused (the API's limits)"
    assert told[2] == "  Cure: free some room"


def test_columns_are_counted_as_a_terminal_shows_them():
    assert cells("ab\u2705") == 4
    assert cells("e\u0301") == 1
    assert cut("\u4f60\u597d\u4f60", 4) == "\u4f60\u2026"
    assert cut("abc", 0) == cut("abc", 3) == "abc"
    wide = task_line({**TASKS[0], "title": "\u4f60" * 60}, 6, 60, colour=False)
    assert cells(wide) <= 60
    assert "(Haiku) - $0.040" in wide
