"""`haikud logs`: one log, several, and following them to the end."""

from __future__ import annotations

from tests.interfaces.conftest import FakeSpool
from tests.support.waiting import wait_until

from haikud.interfaces.following import LogTail


def test_it_prints_the_log_as_it_is(spool: FakeSpool):
    spool.admit("x", "running")
    spool.log("x", "tokens_used 12\nagent | grün")
    done = spool.run("logs", "x")
    assert (done.exit_code, done.stdout) == (0, "tokens_used 12\nagent | grün")


def test_the_logs_of_a_plan_carry_the_tasks_names(spool: FakeSpool):
    spool.admit("p", "running", "running")
    spool.log("p.t1", "one\n")
    spool.log("p.t2", "two\nthree\n")
    assert spool.run("logs", "p").stdout == "p.t1: one\np.t2: two\np.t2: three\n"
    assert spool.run("logs", "p.t2").stdout == "two\nthree\n"


def test_following_goes_on_over_attempts_until_the_task_has_ended(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    spool.log("x", "first attempt\n")
    with spool.start("logs", "x", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first attempt\n"
        spool.move("x", "deferred")
        spool.move("x", "queued")
        spool.move("x", "running")
        spool.log("x", "second attempt\n")
        assert process.stdout.readline() == "second attempt\n"
        assert process.poll() is None
        spool.log("x", "the end without a newline")
        spool.move("x", "succeeded")
        assert process.stdout.read() == "the end without a newline"
        assert process.wait(timeout=30) == 0


def test_following_waits_for_a_task_that_is_on_its_way(spool: FakeSpool, daemon: int):
    with spool.start("logs", "later", "-f") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "knows nothing of later yet" in process.stderr.readline()
        spool.admit("later", "running")
        spool.log("later", "there\n")
        assert process.stdout.readline() == "there\n"
        spool.move("later", "failed")
        assert process.wait(timeout=30) == 0


def test_following_says_when_there_is_a_question(spool: FakeSpool, daemon: int):
    spool.admit("x", "escalated")
    spool.escalate("x")
    with spool.start("logs", "x", "-f") as process:
        assert process.stderr is not None
        assert "x asks a question" in process.stderr.readline()
        spool.move("x", "failed")
        assert process.wait(timeout=30) == 0


def test_what_has_no_log_is_told_why(spool: FakeSpool):
    assert "has no task or plan x" in spool.run("logs", "x").stderr
    spool.response("x", "rejected")
    assert "x was rejected and has no log" in spool.run("logs", "x").stderr
    assert spool.run("logs", "x", "-f").exit_code == 2


def test_a_line_is_given_when_it_is_whole(tmp_path):
    path = tmp_path / "agent.log"
    tail = LogTail(path)
    assert tail.new_lines() == b""
    path.write_bytes(b"one\ntw")
    assert tail.new_lines() == b"one\n"
    path.write_bytes(b"one\ntwo\n")
    assert tail.new_lines() == b"two\n"
    path.write_bytes(b"one\ntwo\nthr")
    assert tail.new_lines() == b""
    assert wait_until(lambda: tail.new_lines(whole=False)) == b"thr"
