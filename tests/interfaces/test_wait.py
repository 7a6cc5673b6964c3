"""`haikud wait`: which answer is the right one, and what its exit code says."""

from __future__ import annotations

import json
import time

import pytest
from tests.interfaces.conftest import FakeSpool

from haikud.interfaces.waiting import Dropped, EndKind, look_for_answer, wait_for_answer


@pytest.mark.parametrize(
    ("status", "code"),
    [("success", 0), ("failure", 1), ("partial", 1), ("rejected", 5), ("cancelled", 6)],
)
def test_it_prints_the_response_and_exits_by_its_status(spool: FakeSpool, status: str, code: int):
    response = spool.response("x", status, summary="Grüße")
    done = spool.run("wait", "x")
    assert json.loads(done.stdout) == response
    assert done.exit_code == code
    assert "Grüße" in done.stdout
    assert done.stderr == ""


def test_it_waits_until_the_response_is_there(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    with spool.start("wait", "x", "--timeout", "30") as process:
        assert process.poll() is None
        spool.finish("x", "success")
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["status"] == "success"


def test_a_timeout_says_how_things_are(spool: FakeSpool):
    spool.admit("x", "running")
    done = spool.run("wait", "x", "--timeout", "0.2")
    assert done.exit_code == 4
    assert done.stdout == ""
    assert "no answer after 0.2 s: x is running" in done.stderr
    assert f"no daemon runs on {spool.root}" in done.stderr


def test_an_unknown_id_is_said_at_once_and_waited_for(spool: FakeSpool, daemon: int):
    done = spool.run("wait", "later", "--timeout", "0.1")
    assert done.exit_code == 4
    assert done.stderr.startswith(f"haikud: warning: {spool.root} knows nothing of later yet")


@pytest.mark.parametrize("command", ["wait", "retry"])
def test_what_was_pruned_is_not_waited_for(spool: FakeSpool, daemon: int, command: str):
    spool.layout.pruned.mkdir(exist_ok=True)
    (spool.layout.pruned / "old").write_text("{}")
    for identifier in ("old", "old.t1"):
        done = spool.run(command, identifier)
        assert done.exit_code == 2
        assert "the plan old was pruned, its answers and logs with it" in done.stderr


@pytest.mark.parametrize("command", [["wait"], ["logs", "-f"]])
def test_a_task_that_its_plan_does_not_have_is_not_waited_for(spool: FakeSpool, daemon: int, command: list[str]):
    spool.admit("p", "running", "queued")
    done = spool.run(*command, "p.t3")
    assert done.exit_code == 2
    assert "the plan p has no task p.t3\n  it has p.t1, p.t2" in done.stderr


@pytest.mark.parametrize("identifier", ["all", "a/b", "..", "", "a.b.c", "-x", "ümlaut"])
def test_what_cannot_be_an_id_is_a_usage_error(spool: FakeSpool, identifier: str):
    assert spool.run("wait", "--timeout", "0.1", "--", identifier).exit_code == 2


def test_a_question_is_printed_with_how_to_answer_it(spool: FakeSpool, daemon: int):
    spool.admit("p", "running", "escalated")
    question = spool.escalate("p.t2")
    for identifier in ("p", "p.t2"):
        done = spool.run("wait", identifier)
        assert done.exit_code == 3
        assert json.loads(done.stdout) == question
        assert 'haikud answer p.t2 "TEXT"' in done.stderr
    assert spool.run("wait", "p.t1", "--timeout", "0").exit_code == 4


@pytest.mark.parametrize("name", ["x.json", "x.md", ".taken-0123456789abcdef-x.txt"])
def test_a_question_with_an_answer_on_its_way_is_not_asked_again(spool: FakeSpool, name: str):
    spool.admit("x", "escalated")
    spool.escalate("x")
    (spool.layout.guidance / name).write_text("go on")
    assert spool.run("wait", "x", "--timeout", "0").exit_code == 4


def test_an_answer_that_was_taken_away_is_found_in_the_plan(spool: FakeSpool):
    spool.admit("x", "running")
    response = spool.finish("x", "success")
    (spool.layout.responses / "x.json").unlink()
    done = spool.run("wait", "x")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == response


def test_the_task_of_a_plan_is_answered_before_the_plan_is(spool: FakeSpool):
    spool.admit("p", "running", "running")
    spool.finish("p.t1", "failure")
    assert spool.run("wait", "p.t1").exit_code == 1
    (spool.layout.responses / "p.t1.json").unlink()
    assert spool.run("wait", "p.t1").exit_code == 1
    assert spool.run("wait", "p", "--timeout", "0").exit_code == 4


def test_a_rejection_is_old_once_the_mended_request_is_there(spool: FakeSpool):
    spool.response("x", "rejected")
    assert spool.run("wait", "x").exit_code == 5
    (spool.layout.incoming / "x.json").write_text("{}")
    assert spool.run("wait", "x", "--timeout", "0").exit_code == 4
    (spool.layout.incoming / "x.json").unlink()
    spool.admit("x", "queued")
    assert spool.run("wait", "x", "--timeout", "0").exit_code == 4


@pytest.mark.parametrize("name", ["p.retry", "p.t1.retry", ".taken-0123456789abcdef-p.retry"])
def test_an_answer_is_old_while_a_retry_is_asked_for(spool: FakeSpool, name: str):
    spool.admit("p", "running", "failed")
    spool.finish("p.t1", "failure")
    spool.response("p", "failure")
    assert spool.run("wait", "p", "--timeout", "0").exit_code == 1
    (spool.layout.control / name).touch()
    assert spool.run("wait", "p", "--timeout", "0").exit_code == 4
    assert spool.run("wait", "p.t1", "--timeout", "0").exit_code == 4


def test_what_we_dropped_is_answered_by_its_own_rejection(spool: FakeSpool):
    spool.response("x", "success")
    dropped = Dropped("x.json", time.time())
    waiting = spool.layout.incoming / "x.json"
    waiting.write_text("{}")
    assert look_for_answer(spool.layout, "x", dropped) is None
    waiting.rename(spool.layout.incoming / ".taken-0123456789abcdef-x.json")
    assert look_for_answer(spool.layout, "x", dropped) is None
    spool.response("x.rejected.1", "rejected")
    reason = {"name": "x.json", "stored_as": "x.json", "answered_as": "responses/x.rejected.1.json", "reason": "used"}
    spool.write(spool.layout.rejected / "x.json.reason.json", reason)
    (spool.layout.incoming / ".taken-0123456789abcdef-x.json").unlink()
    end = wait_for_answer(spool.layout, "x", timeout=5, dropped=dropped)
    assert (end.kind, end.exit_code, end.path) == (
        EndKind.RESPONSE,
        5,
        spool.layout.responses / "x.rejected.1.json",
    )


def test_what_we_dropped_is_answered_though_its_rejection_made_way_for_anothers_answer(spool: FakeSpool):
    dropped = Dropped("x.json", time.time(), b'{"mine": 1}')
    reason = {"name": "x.json", "stored_as": "x.json", "answered_as": "x.json", "reason": "no title", "faults": []}
    spool.write(spool.layout.rejected / "x.json.reason.json", reason)
    (spool.layout.rejected / "x.json").write_bytes(b'{"mine": 1}')
    assert wait_for_answer(spool.layout, "x", timeout=0, dropped=dropped).exit_code == 5
    spool.admit("x", "succeeded")
    spool.response("x", "success")
    end = wait_for_answer(spool.layout, "x", timeout=0, dropped=dropped)
    assert end.exit_code == 5
    assert end.document["payload"]["error_report"]["error"]["message"] == "no title"


def test_what_we_dropped_is_not_answered_by_the_rejection_of_anothers_file_of_the_same_name(spool: FakeSpool):
    dropped = Dropped("x.json", time.time(), b'{"mine": 1}')
    reason = {"name": "x.json", "stored_as": "x.json", "answered_as": "x.rejected.1.json", "reason": "used"}
    spool.write(spool.layout.rejected / "x.json.reason.json", reason)
    (spool.layout.rejected / "x.json").write_bytes(b'{"mine": 2}')
    spool.response("x.rejected.1", "rejected")
    assert look_for_answer(spool.layout, "x", dropped) is None
    spool.admit("x", "succeeded")
    spool.response("x", "success")
    assert wait_for_answer(spool.layout, "x", timeout=0, dropped=dropped).exit_code == 0


def test_a_half_written_or_foreign_response_is_no_answer(spool: FakeSpool):
    (spool.layout.responses / "x.json").write_text('{"status": "succ')
    assert spool.run("wait", "x", "--timeout", "0").exit_code == 4
