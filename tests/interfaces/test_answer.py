"""`haikud answer`: what lies in guidance/ afterwards, and when nothing may."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.interfaces.conftest import FakeSpool
from tests.support.waiting import wait_until

from haikud.contracts.guidance import DroppedGuidance


def dropped(spool: FakeSpool, ref: str = "x") -> dict[str, Any]:
    document = json.loads((spool.layout.guidance / f"{ref}.json").read_bytes())
    DroppedGuidance.model_validate(document)
    return document


def test_an_answer_names_the_question(spool: FakeSpool, daemon: int):
    spool.admit("x", "escalated")
    spool.escalate("x", 2)
    done = spool.run("answer", "x", "Take the second.")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "answered x.e2 (continue)\n", "")
    assert dropped(spool) == {"escalation_id": "x.e2", "guidance": "Take the second.", "action": "continue"}
    assert [path.name for path in spool.layout.guidance.iterdir()] == ["x.json"]


def test_an_answer_may_come_from_stdin(spool: FakeSpool):
    spool.admit("x", "escalated")
    spool.escalate("x")
    done = spool.run("answer", "x", "-", stdin="several\nlines ü\n")
    assert done.exit_code == 0
    assert "no daemon runs" in done.stderr
    assert dropped(spool)["guidance"] == "several\nlines ü"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--retry"], {"action": "retry", "guidance": ""}),
        (["--cancel"], {"action": "cancel", "guidance": ""}),
        (["--model", "sonnet", "think"], {"action": "reassign", "model": "sonnet", "guidance": "think"}),
        (["--role", "tester"], {"action": "reassign", "role": "tester", "guidance": ""}),
        (["--reassign", "tester"], {"action": "reassign", "role": "tester", "guidance": ""}),
        (["--retry", "--model", "sonnet"], {"action": "retry", "model": "sonnet", "guidance": ""}),
    ],
)
def test_an_answer_may_ask_for_something_else(spool: FakeSpool, options: list[str], expected: dict[str, str]):
    spool.admit("x", "escalated")
    spool.escalate("x")
    assert spool.run("answer", "x", *options).exit_code == 0
    assert dropped(spool) == {"escalation_id": "x.e1", **expected}


def test_a_role_that_the_daemon_does_not_know_is_told_at_once(spool: FakeSpool, daemon: int):
    spool.admit("x", "escalated")
    spool.escalate("x")
    with spool.start("answer", "x", "--role", "nobody") as process:
        drop = spool.layout.guidance / "x.json"
        wait_until(drop.exists, what="the answer")
        spool.write(spool.layout.rejected / "x.json.reason.json", {"name": "x.json", "reason": "no role 'nobody'"})
        drop.unlink()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "did not take the answer: no role 'nobody'\n  the question is still open" in err


def test_the_plan_will_do_where_it_has_one_question(spool: FakeSpool):
    spool.admit("p", "escalated", "escalated")
    spool.escalate("p.t2")
    assert spool.run("answer", "p", "yes").exit_code == 0
    assert dropped(spool, "p.t2")["guidance"] == "yes"
    (spool.layout.guidance / "p.t2.json").unlink()
    spool.escalate("p.t1")
    done = spool.run("answer", "p", "yes")
    assert done.exit_code == 2
    assert "name one of p.t1, p.t2" in done.stderr


def test_without_an_open_question_nothing_is_dropped(spool: FakeSpool):
    spool.admit("x", "running")
    done = spool.run("answer", "x", "yes")
    assert done.exit_code == 2
    assert "x has no open question: it is running" in done.stderr
    assert "has no task y" in spool.run("answer", "y", "yes").stderr
    assert list(spool.layout.guidance.iterdir()) == []


def test_an_answer_that_is_not_taken_yet_is_not_replaced(spool: FakeSpool):
    spool.admit("x", "escalated")
    spool.escalate("x")
    spool.run("answer", "x", "first")
    done = spool.run("answer", "x", "second")
    assert done.exit_code == 2
    assert "not taken yet" in done.stderr
    assert dropped(spool)["guidance"] == "first"


@pytest.mark.parametrize("args", [[], ["  "], ["--retry", "--cancel"], ["--cancel", "--role", "a"]])
def test_what_says_nothing_or_too_much_is_a_usage_error(spool: FakeSpool, args: list[str]):
    spool.admit("x", "escalated")
    spool.escalate("x")
    assert spool.run("answer", "x", *args).exit_code == 2
    assert list(spool.layout.guidance.iterdir()) == []


def test_without_words_and_without_a_question_it_says_that_none_is_open(spool: FakeSpool):
    spool.admit("done", "succeeded")
    told = spool.run("answer", "done")
    assert told.exit_code == 2
    assert "done has no open question: it is succeeded" in told.stderr
