"""TERM, and what it means: the whole tree is ended, committed work is taken over, the rest stays as it is."""

from __future__ import annotations

import signal

import pytest
from tests.support.attempts import Bench
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.contracts.attempt import EndOrder
from haikud.contracts.error_report import ErrorType
from haikud.contracts.states import AttemptOutcome

STUBBORN = r"""
trap '' TERM
echo done >> calc.py; git commit -qam "Half of it"; echo open > open.txt
bash -c 'trap "" TERM; touch "$HAIKUD_OUT/child"; while :; do sleep 0.05; done' &
(setsid bash -c 'trap "" TERM; (setsid bash -c "trap \"\" TERM; touch \"\$HAIKUD_OUT/grandchild\"; while :; do sleep 0.05; done" &) ; sleep 600' &)
setsid env -i bash -c 'trap "" TERM; while :; do /bin/sleep 0.05; done' &
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("end", "outcome", "error"),
    [
        (EndOrder.CANCEL, AttemptOutcome.CANCELLED, None),
        (EndOrder.INTERRUPT, AttemptOutcome.INTERRUPTED, ErrorType.INTERRUPTED),
        (EndOrder.TIME_LIMIT, AttemptOutcome.TIMED_OUT, ErrorType.TIMEOUT),
        (None, AttemptOutcome.INTERRUPTED, ErrorType.INTERRUPTED),
    ],
)
def test_term_ends_the_tree_and_says_why(
    bench: Bench, end: EndOrder | None, outcome: AttemptOutcome, error: ErrorType | None
):
    bench.order(STUBBORN)
    process = bench.start()
    bench.wait_for("child")
    bench.wait_for("grandchild")
    result = bench.end(process, end)
    assert result.outcome is outcome
    assert (result.error_report.type if result.error_report else None) is error
    if end is None and result.error_report is not None:
        assert result.error_report.error.message == "The runner was ended by a signal that haikud did not send"
    assert result.failure_class is None
    assert bench.left_running() == []
    assert result.evidence is not None
    assert result.evidence.commits == 1
    assert git(bench.worktree, "log", "-1", "--format=%s") == "Half of it"
    assert git(bench.worktree, "status", "--porcelain") == "?? open.txt"
    assert str(bench.spool.root) not in (bench.worktree / ".git").read_text()


def test_a_second_term_does_no_more(bench: Bench):
    bench.order(STUBBORN)
    process = bench.start()
    bench.wait_for("grandchild")
    process.terminate()
    wait_until(
        lambda: process.poll() is not None or process.send_signal(signal.SIGTERM),
        seconds=90,
        what=lambda: f"the runner's end; the log says: {bench.log()}",
    )
    assert process.returncode == 0, bench.log()
    assert bench.result().outcome is AttemptOutcome.INTERRUPTED
    assert git(bench.worktree, "log", "-1", "--format=%s") == "Half of it"


def test_term_during_the_tests_ends_them(bench: Bench):
    command = 'touch "$HAIKUD_OUT/testing"; (setsid sleep 600 &); sleep 600'
    bench.order("echo '#' >> calc.py; git commit -qam Mine", files=["calc.py"], context={"test_command": command})
    process = bench.start()
    bench.wait_for("testing")
    result = bench.end(process, EndOrder.CANCEL)
    assert result.outcome is AttemptOutcome.CANCELLED
    assert result.last_phase.value == "validate"
    assert result.evidence is not None
    assert (result.evidence.commits, result.evidence.tests_passing) == (1, None)
    assert bench.left_running() == []
    assert git(bench.worktree, "status", "--porcelain") == ""


def test_term_during_setup_ends_its_command(bench: Bench):
    bench.order("true", context={"setup_command": 'touch "$HAIKUD_OUT/setting-up"; sleep 600'})
    process = bench.start()
    bench.wait_for("setting-up")
    result = bench.end(process, EndOrder.INTERRUPT)
    assert (result.outcome, result.last_phase.value) == (AttemptOutcome.INTERRUPTED, "setup")
    assert bench.left_running() == []
    bench.order("true")
    assert bench.run().outcome is AttemptOutcome.COMPLETED


def test_a_killed_runners_work_is_taken_over_by_the_next_attempt(bench: Bench):
    bench.order("echo '#' >> calc.py; git commit -qam Before; echo x > open; touch \"$HAIKUD_OUT/here\"; sleep 600")
    process = bench.start()
    bench.wait_for("here")
    process.kill()
    process.wait()
    assert not bench.paths.result.exists()
    bench.close()  # what the daemon does: the tree is ended first
    bench.order("[ -e open ] && git log -1 --format=%s", files=["calc.py"])
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.summary == "Before"
    assert result.evidence is not None
    assert result.evidence.commits == 2
    assert git(bench.repository, "log", "--format=%s", f"main..{bench.branch}").split("\n") == ["Add sub", "Before"]
