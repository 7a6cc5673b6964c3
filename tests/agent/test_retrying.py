"""What may pass by itself is waited for or tried again, and the report says what was really tried."""

from __future__ import annotations

import threading
import time

from tests.support.attempts import Bench

from haikud.contracts.attempt import FailureClass, Result
from haikud.contracts.error_report import ErrorReport, ErrorType
from haikud.contracts.states import AttemptOutcome

LOCKED = "sqlite3.OperationalError: database is locked"


def report_of(result: Result) -> ErrorReport:
    assert result.error_report is not None
    return result.error_report


def test_a_lock_that_the_setup_command_meets_is_waited_for_in_place(bench: Bench):
    tries = '"$HAIKUD_OUT/../../tries"'
    script = f'echo once >> {tries}; grep -c once {tries} | grep 2 || {{ echo "{LOCKED}"; exit 1; }}'
    bench.order("true", context={"setup_command": script})
    assert bench.run().outcome is AttemptOutcome.COMPLETED
    assert (bench.paths.folder.parent / "tries").read_text() == "once\nonce\n"
    assert "a file lock is held: waiting up to 30 s" in bench.log()


def test_a_lock_that_is_not_let_go_fails_the_attempt_and_the_report_says_how_long_it_was_waited_for(bench: Bench):
    bench.order("true", context={"setup_command": f'echo "{LOCKED}"; exit 1'}, limits={"lock_seconds": 0.6})
    result = bench.run()
    report = report_of(result)
    assert (result.failure_class, report.error.code) == (FailureClass.FILE_LOCK, "FILE_LOCKED")
    assert report.next_steps.requires_escalation is False
    assert report.attempted_solutions[-1].startswith("Waited 1 s for the file lock, tried ")


def test_a_lock_of_gits_is_waited_for(bench: Bench):
    """Another program holds the branch's lock for a while, just when the branch is to be made."""
    lock = bench.repository / ".git" / "packed-refs.lock"
    ref_lock = bench.repository / ".git" / "refs" / "heads" / "feature" / f"{bench.ref}.lock"
    ref_lock.parent.mkdir(parents=True)
    bench.order("true")
    for one in (lock, ref_lock):
        one.touch()
    process = bench.start()
    timer = threading.Timer(1.5, lambda: [one.unlink(missing_ok=True) for one in (lock, ref_lock)])
    timer.start()
    assert process.wait(timeout=60) == 0
    timer.join()
    assert bench.result().outcome is AttemptOutcome.COMPLETED, bench.log()


def test_the_attempt_after_a_failed_install_finds_empty_caches_and_says_so(bench: Bench):
    shared = bench.root / "shared-cache"
    shared.mkdir()
    (shared / "broken").touch()
    script = 'ls -A "$HOME" "$PIP_CACHE_DIR"; mkdir -p "$HOME/.npm"; touch "$HOME/.npm/x"; echo "npm ERR! code EINTEGRITY"; exit 1'
    kept = {"context": {"setup_command": script}, "set_environment": {"PIP_CACHE_DIR": str(shared)}}
    bench.order("true", **kept)
    first = bench.run()
    assert first.failure_class is FailureClass.DEPENDENCY_INSTALL
    assert report_of(first).attempted_solutions == []
    assert "agent | broken" in bench.log()
    seen = len(bench.log())
    bench.order("true", **kept, retry_reason="dependency_install: it failed", retry_of=3)
    second = report_of(bench.run())
    assert (second.type, second.error.code) == (ErrorType.DEPENDENCY_ERROR, "DEPENDENCY_INSTALL")
    again = bench.log()[seen:]
    assert "agent | broken" not in again
    assert "agent | .npm" not in again
    assert second.attempted_solutions[0].startswith("Attempt 1 failed (dependency_install): The setup command failed")
    assert second.attempted_solutions[1] == (
        "Ran the setup command again with empty package caches (a new HOME, PIP_CACHE_DIR not used)"
    )
    assert (shared / "broken").exists()


def test_a_command_agents_failure_is_classified_by_what_it_printed_last(bench: Bench):
    for script, kind, code in (
        ("echo 'curl: (6) Could not resolve host: example.org'; exit 6", FailureClass.NETWORK, "NETWORK_ERROR"),
        ("echo 'curl: (6) x'; echo '1 failed in 0.1s'; exit 1", FailureClass.TEST_FAILURE, "TEST_FAILURE"),
        ("no-such-program-at-all", FailureClass.MISSING_FILE, "COMMAND_NOT_FOUND"),
    ):
        bench.order(script)
        result = bench.run()
        assert (result.failure_class, report_of(result).error.code) == (kind, code)


def test_tests_that_could_not_run_are_told_from_tests_that_failed(bench: Bench):
    bench.order("echo 'def add(:' > calc.py; git commit -qam broken", context={"test_command": "python3 calc.py"})
    result = bench.run()
    report = report_of(result)
    assert (result.failure_class, report.type) == (FailureClass.SYNTAX_ERROR, ErrorType.BUILD_ERROR)
    assert report.error.code == "SYNTAX_ERROR"
    assert "could not run (exit code 1): SyntaxError" in report.error.message


def test_a_stop_ends_the_wait_for_a_lock_at_once(bench: Bench):
    bench.order("true", context={"setup_command": f'touch "$HAIKUD_OUT/ran"; echo "{LOCKED}"; exit 1'})
    process = bench.start()
    bench.wait_for("ran")
    began = time.monotonic()
    bench.end(process, None)
    assert time.monotonic() - began < 15
