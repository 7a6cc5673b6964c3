"""Done is measured: on real runners, with agents that lie, forget and leave things behind."""

from __future__ import annotations

import pytest
from tests.support.attempts import Bench
from tests.support.repository import TEST_COMMAND, git

from haikud.contracts.error_report import ErrorType
from haikud.contracts.states import AttemptOutcome

LIE = """echo '{"summary": "All tests pass!", "payload": {"tests_passing": true}}' > "$HAIKUD_OUT/result.json"\n"""
BREAK = 'echo "def add(a, b): return 0" >> calc.py\n'
TESTED = {"test_command": TEST_COMMAND}


def test_success_claimed_over_failing_tests_is_a_failure(bench: Bench):
    bench.order(BREAK + "git commit -qam Break\n" + LIE, files=["calc.py"], context=TESTED)
    result = bench.run()
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.summary == "All tests pass!"
    assert result.payload["test_results"]["tests"] == {"passed": 0, "failed": 1}
    (failure,) = result.payload["test_results"]["failures"]
    assert failure["file"] == "tests/test_calc.py"
    assert failure["name"].endswith("AddTest.test_add")
    assert failure["message"].startswith("AssertionError")
    report, evidence = result.error_report, result.evidence
    assert report is not None
    assert evidence is not None
    assert (report.type, report.error.code) == (ErrorType.TEST_FAILURE, "TEST_FAILURE")
    assert report.context.command == TEST_COMMAND
    assert "AssertionError" in report.error.details
    assert 'File "' in report.error.stack_trace
    assert report.attempted_solutions == ["Retried tests once (still failed)"]
    assert report.next_steps.requires_escalation
    assert (evidence.tests_passing, evidence.flaky, evidence.commits) == (False, False, 1)
    assert [run.exit_code for run in evidence.verification] == [1, 1]
    assert git(bench.worktree, "status", "--porcelain") == ""


def test_no_commit_is_a_failure_where_files_are_declared_and_only_there(bench: Bench):
    bench.order("true", files=["calc.py"], context=TESTED)
    result = bench.run()
    assert result.error_report is not None
    assert (result.error_report.type, result.error_report.error.code) == (ErrorType.AGENT_ERROR, "NO_COMMIT")
    assert result.evidence is not None
    assert result.evidence.tests_passing is True
    bench.order("true")
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED
    assert result.evidence is not None
    assert result.evidence.tests_passing is None


def test_what_is_left_uncommitted_is_committed_and_tested_but_not_what_was_copied_in(bench: Bench):
    (bench.repository / ".env").write_text("SECRET=1\n")
    script = 'grep -q SECRET .env && echo "def sub(a, b): return a - b" >> calc.py; echo new > new.txt; mkdir out; echo x > out/y'
    settings = {"copy_files": [".env"]}
    bench.order(script, files=["calc.py", "new.txt"], context=TESTED, git_settings=settings)
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    evidence = result.evidence
    assert evidence is not None
    assert evidence.committed_by_runner
    assert evidence.files_changed == ["calc.py", "new.txt", "out/y"]
    assert evidence.undeclared_files == ["out/y"]
    assert evidence.excluded_files == [".env"]
    message = git(bench.repository, "log", "-1", "--format=%an|%B", bench.branch)
    assert message.startswith("haikud|Add sub")
    assert "task-1" in message
    bench.order(BREAK, files=["calc.py"], context=TESTED, git_settings=settings)
    assert bench.run().error_report is not None  # breaking it without a commit is found, too
    assert ".env" not in git(bench.repository, "ls-tree", "-r", "--name-only", bench.branch).split()


def test_deleted_tests_are_named(bench: Bench):
    bench.order("git rm -qr tests; git commit -qm Gone", files=["calc.py"], context={"test_command": "true"})
    result = bench.run()
    assert result.evidence is not None
    assert "D tests/test_calc.py" in result.evidence.tests_touched
    assert any("deleted tests" in warning and "tests/test_calc.py" in warning for warning in result.warnings)


def test_a_test_that_passes_the_second_time_is_noted_as_flaky(bench: Bench):
    bench.order("true", context={"test_command": 'echo >> "$HAIKUD_OUT/n"; [ $(wc -l < "$HAIKUD_OUT/n") = 2 ]'})
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED
    assert result.evidence is not None
    assert (result.evidence.tests_passing, result.evidence.flaky) == (True, True)
    assert [run.exit_code for run in result.evidence.verification] == [1, 0]
    assert any("flaky" in warning for warning in result.warnings)


def test_tests_over_their_limit_are_ended_with_their_children_and_not_run_again(bench: Bench):
    command = "trap '' TERM; (setsid bash -c \"trap '' TERM; sleep 600; sleep 600\" &); sleep 600; sleep 600"
    limits = {"test_seconds": 0.5, "grace_seconds": 0.6}
    bench.order("true", context={"test_command": command, "lint_command": "true"}, limits=limits)
    result = bench.run()
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert result.error_report is not None
    assert (result.error_report.type, result.error_report.error.code) == (ErrorType.TIMEOUT, "TEST_TIMEOUT")
    assert result.evidence is not None
    (run,) = result.evidence.verification
    assert (run.exit_code, run.timed_out) == (None, True)
    assert bench.left_running() == []


def test_what_the_agent_left_running_is_ended_before_the_tests(bench: Bench):
    agent = "while :; do echo '# still at it' >> calc.py; sleep 0.02; done &\nsetsid sleep 600 &\nsleep 0.1"
    bench.order(agent, files=["calc.py"], context={"test_command": "git diff --quiet && sleep 0.1 && git diff --quiet"})
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.evidence is not None
    assert len(result.evidence.left_running) >= 2
    assert any("sleep 600" in text for text in result.evidence.left_running)
    assert bench.left_running() == []


def test_tests_can_neither_move_the_branch_nor_see_the_repositorys_git(bench: Bench):
    before = git(bench.repository, "rev-parse", "main")
    command = "git commit -q --allow-empty -m sneaked; git branch -f main HEAD; git config core.fsmonitor evil"
    bench.order("echo '#' >> calc.py; git commit -qam Mine", files=["calc.py"], context={"test_command": command})
    result = bench.run()
    assert result.evidence is not None
    assert (result.outcome, result.evidence.commits) == (AttemptOutcome.COMPLETED, 1)
    assert git(bench.repository, "log", "-1", "--format=%s", bench.branch) == "Mine"
    assert git(bench.repository, "rev-parse", "main") == before
    assert "evil" not in (bench.repository / ".git/config").read_text()


@pytest.mark.parametrize("remote", ["there", "missing"])
def test_the_branch_is_pushed_only_where_the_settings_say_so(bench: Bench, remote: str):
    bare = bench.root / "bare.git"
    git(bench.root, "init", "-q", "--bare", str(bare))
    if remote == "there":
        git(bench.repository, "remote", "add", "origin", str(bare))
    script = "echo '#' >> calc.py; git commit -qam Mine"
    bench.order(script)
    assert bench.run().outcome is AttemptOutcome.COMPLETED
    assert git(bare, "for-each-ref") == ""
    bench.order("true", git_settings={"push": True})
    result = bench.run()
    if remote == "there":
        assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
        assert git(bare, "rev-parse", bench.branch) == git(bench.repository, "rev-parse", bench.branch)
    else:
        assert result.error_report is not None
        assert (result.error_report.type, result.error_report.error.code) == (ErrorType.GIT_ERROR, "NO_REMOTE")


def test_optional_tests_and_the_linter_warn_and_do_not_block(bench: Bench):
    context = {
        **TESTED,
        "optional_test_commands": ["echo 2 of 9 slow; exit 3", "true", "\0"],
        "lint_command": "echo line too long; exit 1",
    }
    bench.order("echo '# more' >> calc.py", files=["calc.py"], context=context)
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED
    evidence = result.evidence
    assert evidence is not None
    assert [(run.kind, run.exit_code) for run in evidence.verification] == [
        ("test", 0),
        ("optional_test", 3),
        ("optional_test", 0),
        ("lint", 1),
    ]
    assert evidence.tests_passing is True
    failed, unstarted, lint = result.warnings
    assert failed == "optional tests failed with exit code 3: 2 of 9 slow; reported only: echo 2 of 9 slow; exit 3"
    assert unstarted.startswith("optional tests could not be started")
    assert lint == "lint: exit code 1; reported only, see the log"
