"""The runner's boot: its claim, its identity, its key, and what others can see of it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from tests.support.attempts import KEY, Bench
from tests.support.processes import members
from tests.support.waiting import wait_until

from haikud.contracts.attempt import EndOrder
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.spool.claims import is_alive, read_runner_identity, take_claim
from haikud.spool.durable import write_quickly
from haikud.spool.issues import IssueTracker
from haikud.spool.models import dump

WAITS = 'touch "$HAIKUD_OUT/here"; exec sleep 600'


def decide(bench: Bench, number: int, state: TaskState, attempt: int) -> None:
    decision = Decision(number=number, at=utc_now(), ref=bench.ref, state=state, reason="test", attempt=attempt)
    write_quickly(bench.spool.task(bench.ref).decision(number), dump(decision))


def test_it_says_who_it_is_and_holds_the_claim_alone_until_it_dies(bench: Bench):
    bench.order(WAITS)
    process = bench.start()
    bench.wait_for("here")
    identity = read_runner_identity(bench.paths.runner)
    assert identity is not None
    assert identity.pid == process.pid
    assert is_alive(identity)
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"haikud-agent task-1")
    assert process.pid in [each.pid for each in members(str(bench.paths.out))]  # the title has not cost it its mark
    assert take_claim(bench.paths.claim) is None
    process.kill()
    process.wait()
    assert bench.left_running()  # its agent still runs, and does not hold the claim
    descriptor = take_claim(bench.paths.claim)
    assert descriptor is not None
    os.close(descriptor)


def test_nobody_sees_the_key(bench: Bench):
    script = 'env > "$HAIKUD_OUT/env"; ls -l /proc/self/fd > "$HAIKUD_OUT/fds"; tr "\\0" "\\n" < /proc/$PPID/environ > "$HAIKUD_OUT/parent"'
    bench.order(script)
    assert bench.run().outcome is AttemptOutcome.COMPLETED, bench.log()
    for path in bench.spool.root.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert "pipe" not in (bench.paths.out / "fds").read_text().replace("1 -> pipe", "").replace("2 -> pipe", "")


def test_without_a_descriptor_it_takes_the_claim_only_where_it_was_ordered(bench: Bench):
    bench.order("true")
    process = bench.start(claim=False)
    assert process.wait(timeout=30) == 3
    decide(bench, 1, TaskState.RUNNING, 2)
    assert bench.start(claim=False).wait(timeout=30) == 3
    decide(bench, 2, TaskState.RUNNING, 1)
    (bench.spool.task(bench.ref).folder / "decision-0003.json").write_text('{"torn')
    assert bench.run(claim=False).outcome is AttemptOutcome.COMPLETED
    decide(bench, 3, TaskState.CANCELLED, 1)
    assert bench.start(claim=False).wait(timeout=30) == 3
    assert bench.log().count("does not order attempt-1") == 3


def test_a_claim_that_is_held_is_left_alone(bench: Bench):
    bench.order("true")
    decide(bench, 1, TaskState.RUNNING, 1)
    with bench.paths.claim.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert bench.start(claim=False).wait(timeout=30) == 3
    assert not bench.paths.runner.exists()


def test_term_during_the_boot_is_not_lost(bench: Bench):
    bench.order("true")
    process = bench.start()
    wait_until(bench.paths.runner.exists, what="runner.json")
    result = bench.end(process, EndOrder.CANCEL)
    assert result.outcome is AttemptOutcome.CANCELLED


def test_our_own_bug_is_logged_reported_and_exits_with_70(bench: Bench):
    given = {"issue_number": 1, "body": "x"}
    bench.order(role={"operations": ["comment_issue"]}, operation="comment_issue", params=given)
    IssueTracker(bench.spool.issues).create("One")
    result = bench.run(code=70, dying="raise:1.json:1")
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.error_report is not None
    assert result.error_report.error.code == "RUNNER_BUG"
    assert "ZeroDivisionError" in result.error_report.error.details
    assert "Traceback" in bench.log()
    assert (bench.worktree / ".git").is_file()


def test_an_unknown_sandbox_runs_nothing(bench: Bench):
    bench.order('touch "$HAIKUD_OUT/ran"', sandbox="padded-cell", context={"setup_command": 'touch "$HAIKUD_OUT/ran"'})
    report = bench.run().error_report
    assert report is not None
    assert report.error.code == "UNKNOWN_SANDBOX"
    assert not (bench.paths.out / "ran").exists()
    record = next((bench.root / "project/.git/haikud/owners").glob("*.json"))
    assert json.loads(record.read_bytes())["stage"] == "ready"  # a worktree like any other, though no agent came


def test_without_an_order_it_exits_with_70_and_says_why(bench: Bench):
    bench.order("true")
    bench.paths.spec.unlink()
    assert bench.start().wait(timeout=30) == 70
    assert "has no spec.json" in bench.log()
