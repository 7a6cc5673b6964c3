"""An answer, a question and progress on a terminal: for people, and safe whatever a model wrote."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.interfaces.conftest import FakeSpool, on_terminal

from haikud.contracts.times import format_time, utc_now
from haikud.interfaces.progress import describe_live, describe_now

WORK = {
    "branch": "feature/x",
    "worktree": "worktrees/x",
    "commits": 1,
    "tests_passing": True,
    "files_changed": ["calc.py", "tests/test_calc.py"],
    "summary": "Added sub() \x1b[2J and a test.",
    "warnings": ["lint warns"],
}


def test_a_success_is_told_in_a_few_lines(spool: FakeSpool):
    spool.response("x", "success", **WORK)
    code, shown = on_terminal(spool, "wait", "x")
    assert code == 0
    assert shown.splitlines() == [
        "x: success in 41 s, $0.0021, 14210 tokens",
        "  branch    feature/x (1 commit)",
        "  worktree  worktrees/x",
        "  tests     passing",
        "  files     calc.py, tests/test_calc.py",
        r"  summary   Added sub() \x1b[2J and a test.",
        "  warning   lint warns",
        f"  in full   {spool.layout.responses / 'x.json'}",
    ]


def test_a_failure_says_what_to_do(spool: FakeSpool):
    report = {
        "error": {"message": "Test suite failed", "code": "TEST_FAILURE", "details": "line 1\nline 2"},
        "next_steps": {"suggested_action": "Look at the log"},
        "artifacts": {"log_file": "/spool/logs/agent-x.log"},
    }
    spool.response("x", "failure", tests_passing=False, error_report=report)
    code, shown = on_terminal(spool, "wait", "x")
    assert code == 1
    for line in (
        "tests     failing",
        "error     Test suite failed",
        "line 2",
        "next      Look at the log",
        "agent-x.log",
    ):
        assert line in shown


def test_a_plan_is_told_task_by_task(spool: FakeSpool):
    tasks = [{"task_id": "a", "ref": "p.a", "status": "success", "payload": WORK, "metrics": {"cost_usd": 0.02}}]
    spool.response("p", "partial", tasks=tasks)
    _, shown = on_terminal(spool, "wait", "p")
    assert "p: partial" in shown
    assert "  p.a: success in 0 s, $0.020, 0 tokens" in shown
    assert "    branch    feature/x" in shown


def test_a_question_is_told_as_the_guides_blocked_report(spool: FakeSpool):
    spool.admit("x", "escalated")
    question = spool.escalate("x")
    question["payload"] |= {
        "issue_number": 123,
        "blocker": "Test failure in authentication flow",
        "error_details": 'Expected redirect to "/dashboard"\nReceived \x1b[2J"/login"',
        "context": ["This test was passing before my changes"],
        "options": ["first", "second"],
        "recommendation": "the second",
        "cost_so_far": 0.02,
        "open_since": format_time(utc_now() - timedelta(hours=2)),
        "raised": 1,
    }
    spool.write(spool.layout.escalations / "x.json", question)
    code, shown = on_terminal(spool, "wait", "x")
    assert code == 3
    report = [
        "Task: Do x (x)",
        "Issue: #123",
        "Blocker: Test failure in authentication flow",
        "Reason: Which of the two?",
        "Error Details:",
        '  Expected redirect to "/dashboard"',
        r'  Received \x1b[2J"/login"',
        "Context:",
        "  - This test was passing before my changes",
        "Options:",
        "  1. first",
        "  2. second",
        "Recommendation: the second",
        "Cost so far: $0.020",
        "Open for: 2 h 0 min, raised 1 time",
    ]
    lines = shown.splitlines()
    assert lines[0].endswith("Task Blocked: Requires Human Decision")
    assert lines[1:16] == report
    assert 'haikud answer x "TEXT"' in shown
    for command in ("status", "answer"):  # the same, in a pipe
        told = spool.run(command)
        assert told.exit_code == 0
        assert "\n".join(["Task Blocked: Requires Human Decision", *report[:-1]]) in told.stdout
    unanswered = spool.run("answer", "x")
    assert unanswered.exit_code == 2
    assert "Recommendation: the second" in unanswered.stdout


def test_json_on_a_terminal_is_json_in_plain_characters(spool: FakeSpool):
    spool.response("x", "success", summary="\x9b2J ü")
    code, shown = on_terminal(spool, "wait", "x", "--json")
    assert code == 0
    assert r"\u009b2J \u00fc" in shown


@pytest.mark.parametrize(
    "payload", [None, [], {"tasks": [1]}, {"error_report": 3, "commits": "x", "branch": 1, "files_changed": 2}]
)
def test_an_odd_response_is_shown_without_complaint(spool: FakeSpool, payload: Any):
    spool.write(spool.layout.responses / "x.json", {"status": None, "payload": payload, "metrics": 3})
    code, shown = on_terminal(spool, "wait", "x")
    assert code == 1
    assert shown.startswith("x: None in 0 s, $0.000, 0 tokens\n")
    assert "Traceback" not in shown


def test_progress_is_shown_on_a_terminal_while_one_waits(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    task = {"ref": "x", "plan": "x", "state": "running", "phase": "validate", "percent": 80, "cost_usd": 0.02}
    spool.live({**task, "message": "Running tests", "title": ""}, pid=daemon)
    for terminal in ("dumb", "xterm"):
        code, shown = on_terminal(spool, "wait", "x", "--timeout", "0.3", TERM=terminal)
        assert code == 4
        if terminal == "dumb":  # it cannot redraw in place: a line whenever there is news
            assert shown.count("x: running, validate 80%: Running tests, $0.020 so far\n") == 1
            assert "\x1b" not in shown
        else:
            assert "\u23f3 x  \x1b[36mRunning" in shown or "\u23f3 x  Running - $0.020 so far, validate 80%" in shown
            drawn, _, after = shown.rpartition("\x1b[2A\r\x1b[J")  # gone when the wait ends
            assert drawn
            assert after.startswith("haikud: no answer after 0.3 s: x is running")


def test_where_a_task_is_can_be_told_without_a_daemon(spool: FakeSpool):
    spool.admit("p", "running", "waiting")
    assert describe_now(spool.layout, "p") == "p.t1 is running; p.t2 is waiting"
    assert describe_now(spool.layout, "q") == "q is not admitted"
    assert describe_live({"state": "deferred", "reason": "the API's limits"}) == "deferred: the API's limits"
    assert describe_live({"state": "queued", "cost_usd": 0.02}) == "queued, $0.020 so far"
    assert describe_live({"state": "running"}) == "running, $0.000 so far"


def test_the_lines_of_a_summary_and_the_issues_of_a_batch_stay_apart(spool: FakeSpool):
    issues = [{"issue_number": 2, "title": "One"}, {"issue_number": 3, "title": "Two\nlines"}, 4]
    spool.response("x", "success", summary="Unit: 2/2\n\nIntegration: 3/4", issues=issues)
    _, shown = on_terminal(spool, "wait", "x")
    lines = shown.splitlines()
    assert lines[1:5] == [
        "  issues    #2 One",
        "            #3 Two lines",
        "  summary   Unit: 2/2",
        "            Integration: 3/4",
    ]


def test_details_that_only_repeat_the_message_are_left_out(spool: FakeSpool):
    for details, count in (("/role: found 'x'", 1), ("more of it", 2)):
        error = {"message": "x.json was not admitted: /role: found 'x'", "details": details}
        spool.response("x", "rejected", error_report={"error": error})
        _, shown = on_terminal(spool, "wait", "x")
        assert len([line for line in shown.splitlines() if line.startswith(("  error ", " " * 12))]) == count


def test_a_plan_that_saved_no_time_says_so(spool: FakeSpool):
    tasks = [{"ref": f"p.{name}", "status": "success", "payload": {}} for name in "ab"]
    time = {"sequential_seconds": 9.0, "parallel_seconds": 10.0, "time_saved_percent": 0.0}
    spool.response("p", "success", tasks=tasks, time=time)
    _, shown = on_terminal(spool, "wait", "p")
    assert "  time      10 s, 9 s one by one: none saved" in shown.splitlines()


def test_what_a_plan_saved_is_told_at_its_end(spool: FakeSpool):
    tasks = [{"ref": f"p.{name}", "status": "success", "payload": {"branch": f"feature/p.{name}"}} for name in "ab"]
    comparison = {"if_all_sonnet": 0.87, "savings_usd": 0.7, "savings_percent": 80.5}
    time = {"sequential_seconds": 2700.0, "parallel_seconds": 1080.0, "time_saved_percent": 60.0}
    costs = {"total_cost": 0.17, "comparison": comparison}
    spool.response("p", "success", tasks=tasks, agent_costs=costs, time=time)
    _, shown = on_terminal(spool, "wait", "p")
    assert "  costs     $0.170, $0.870 if all Sonnet: $0.700 or 80.5% saved" in shown.splitlines()
    assert "  time      18 min 0 s, 45 min 0 s one by one: 60.0% saved" in shown.splitlines()
