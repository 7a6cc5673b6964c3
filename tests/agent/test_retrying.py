"""What may pass by itself is waited for or tried again, and the report says what was really tried."""

from __future__ import annotations

import threading
import time

import pytest
from tests.support.attempts import Bench
from tests.support.repository import git

from haikud.agent.endings import Failed
from haikud.agent.lock_waits import LockWait
from haikud.agent.runner import open_attempt
from haikud.agent.worktree import git_step
from haikud.contracts.attempt import FailureClass, Result
from haikud.contracts.error_report import ErrorReport, ErrorType
from haikud.contracts.states import AttemptOutcome
from haikud.workspace.git import Git

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


@pytest.mark.parametrize("is_let_go", [True, False])
def test_a_lock_of_gits_is_waited_for(bench: Bench, is_let_go: bool):
    """Another program holds the lock of git's configuration."""
    bench.order("true", limits={"lock_seconds": 30 if is_let_go else 0.5})
    attempt = open_attempt(bench.paths.folder, None, threading.Event())
    lock = bench.repository / ".git" / "config.lock"
    lock.touch()
    tries: list[bool] = []

    def write() -> str:
        tries.append(lock.exists())
        if is_let_go and len(tries) == 3:
            lock.unlink()
        return Git(bench.repository / ".git").run("config", "haikud.test", "done")

    if is_let_go:
        assert git_step(attempt, "Writing the configuration", write) == ""
        assert (len(tries), git(bench.repository, "config", "haikud.test")) == (3, "done")
        assert "a file lock is held: waiting up to 30 s" in bench.log()
        return
    with pytest.raises(Failed) as caught:
        git_step(attempt, "Writing the configuration", write)
    error = caught.value.error
    assert error is not None
    assert (error.failure_class, error.operation) == (FailureClass.FILE_LOCK, "Writing the configuration")
    assert error.attempted[0].endswith(f"tried {len(tries)} times")


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
    bench.order("echo '1 failed in 0.1s'; echo 'curl: (6) Could not resolve host: example.org'; exit 6")
    result = bench.run()
    assert (result.failure_class, report_of(result).error.code) == (FailureClass.NETWORK, "NETWORK_ERROR")


def test_tests_that_could_not_run_are_told_from_tests_that_failed(bench: Bench):
    bench.order("echo 'def add(:' > calc.py; git commit -qam broken", context={"test_command": "python3 calc.py"})
    result = bench.run()
    report = report_of(result)
    assert (result.failure_class, report.type) == (FailureClass.SYNTAX_ERROR, ErrorType.BUILD_ERROR)
    assert report.error.code == "SYNTAX_ERROR"
    assert "could not run (exit code 1): SyntaxError" in report.error.message


def test_a_stop_ends_the_wait_for_a_lock_at_once(bench: Bench):
    bench.order("true")
    stop = threading.Event()
    wait = LockWait(open_attempt(bench.paths.folder, None, stop))
    assert wait.once_more("locked")
    stop.set()
    began = time.monotonic()
    assert not wait.once_more("locked")
    assert time.monotonic() - began < 5
