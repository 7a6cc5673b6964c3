"""Command agents in real attempts: what their exit codes and files lead to."""

from __future__ import annotations

import json

import pytest
from tests.support.attempts import Bench
from tests.support.repository import TEST_COMMAND, git

from haikud.contracts.attempt import AttemptEvent, FailureClass
from haikud.contracts.error_report import ErrorType, Severity
from haikud.contracts.states import AttemptOutcome, Phase
from haikud.spool.models import iter_lines

RESULT = '"$HAIKUD_OUT/result.json"'
EVENTS = '"$HAIKUD_OUT/events.jsonl"'
WORK = 'echo "def sub(a, b): return a - b" >> calc.py; git commit -qam "Add sub"\n'


def test_ten_lines_of_shell_are_an_agent(bench: Bench):
    bench.order(
        WORK + 'echo "{\\"percent\\": 50, \\"message\\": \\"half\\nway\\"}" >> "$HAIKUD_OUT/events.jsonl"\n'
        'echo \'{"percent": 60, "message": "more"}\' >> "$HAIKUD_OUT/events.jsonl"\n'
        'echo \'{"summary": "I added sub", "payload": {"note": 1, "commits": 99}}\' > "$HAIKUD_OUT/result.json"\n'
        'echo "tokens_used 5"; printf "\\033[31mred\\0"',
        files=["calc.py"],
        context={"test_command": TEST_COMMAND, "lint_command": "echo careful; exit 3"},
    )
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.error_report is None
    assert (result.exit_code, result.summary, result.payload) == (
        0,
        "I added sub",
        {"note": 1, "test_results": {"tests": {"passed": 1, "failed": 0}}},
    )
    assert any("payload states commits" in warning for warning in result.warnings)
    assert any("lint: exit code 3" in warning for warning in result.warnings)
    evidence = result.evidence
    assert evidence is not None
    assert evidence.head_sha == git(bench.repository, "rev-parse", bench.branch)
    assert evidence.base_sha == git(bench.repository, "rev-parse", "main")
    assert (evidence.commits, evidence.files_changed, evidence.tests_passing) == (1, ["calc.py"], True)
    assert (evidence.committed_by_runner, evidence.flaky, evidence.sandbox) == (False, False, "none")
    test, lint = evidence.verification
    assert (test.kind, test.exit_code, lint.kind, lint.exit_code) == ("test", 0, "lint", 3)
    raw = bench.spool.log_link(bench.ref).read_bytes()
    assert b"agent | OK" in raw[test.log_offset : test.log_end]
    assert raw[lint.log_offset : lint.log_end] == b"agent | careful\n"
    assert not any(line.startswith("tokens_used") for line in bench.log().splitlines())
    assert "\x1b" not in bench.log()
    assert "\0" not in bench.log()
    assert set(result.phase_seconds) == {"setup", "implement", "validate", "deliver"}
    assert result.last_phase is Phase.REPORT
    events = list(iter_lines(bench.paths.events, AttemptEvent))
    assert [event.phase for event in events if event.kind == "phase"] == list(Phase)
    assert (60, "more") in [(event.percent, event.message) for event in events]
    percents = [event.percent for event in events if event.percent is not None]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert git(bench.worktree, "status", "--porcelain") == ""
    assert git(bench.worktree, "rev-parse", "--abbrev-ref", "HEAD") == bench.branch


@pytest.mark.parametrize(
    ("script", "code", "failure_class", "exit_code"),
    [
        ("echo not now >&2; exit 75", "AGENT_TEMPFAIL", FailureClass.TEMPORARY, 75),
        ("echo no such thing >&2; exit 1", "AGENT_EXIT_1", FailureClass.PERMANENT, 1),
        ("kill -KILL $$", "AGENT_SIGNAL_9", FailureClass.PERMANENT, -9),
    ],
)
def test_other_exit_codes_are_failures_with_a_whole_report(
    bench: Bench, script: str, code: str, failure_class: FailureClass, exit_code: int
):
    bench.order(WORK + script, context={"test_command": TEST_COMMAND}, issue_number=7)
    result = bench.run()
    assert result.outcome is AttemptOutcome.EXITED_WITH_ERROR
    assert (result.failure_class, result.exit_code, result.issue_number) == (failure_class, exit_code, 7)
    report = result.error_report
    assert report is not None
    assert (report.type, report.severity, report.error.code) == (ErrorType.AGENT_ERROR, Severity.HIGH, code)
    assert (report.task_id, report.agent_id) == ("task-1", "worker-1")
    assert report.context.operation == "Running the agent"
    assert report.context.command is not None
    assert report.context.working_directory == str(bench.worktree)
    assert report.context.environment["git_version"].startswith("2.")
    assert report.next_steps.requires_escalation is (failure_class is FailureClass.PERMANENT)
    assert report.next_steps.suggested_action
    assert report.artifacts.log_file == str(bench.spool.logs / "agent-task-1.log")
    assert result.evidence is not None
    assert (result.evidence.commits, result.evidence.tests_passing) == (1, None)  # taken over, but not judged
    assert git(bench.repository, "rev-list", "--count", f"main..{bench.branch}") == "1"


def test_exit_79_is_a_question_with_the_last_line_or_the_report_as_its_reason(bench: Bench):
    bench.order("echo 'half done' > half.txt; echo one; echo 'which of the two?'; exit 79")
    result = bench.run()
    assert result.outcome is AttemptOutcome.ESCALATED
    assert result.question is not None
    assert result.question.reason == "which of the two?"
    assert result.error_report is None
    assert (bench.worktree / "half.txt").exists()
    assert git(bench.worktree, "status", "--porcelain") == "?? half.txt"

    assert result.question.error_details == "one\nwhich of the two?"

    report = {
        "reason": "Two headers",
        "error_details": "no such header",
        "blocker": "b",
        "context": ["c"],
        "options": ["x", "y"],
        "recommendation": "x",
    }
    bench.order(f"[ -e half.txt ] || exit 1; echo '{json.dumps(report)}' > {RESULT}; exit 79")
    question = bench.run().question
    assert question is not None
    assert (question.reason, question.options, question.recommendation) == ("Two headers", ["x", "y"], "x")
    assert question.error_details == "no such header"


def test_a_command_that_is_not_there_says_so(bench: Bench):
    bench.order("true", role={"command": ["/no/such/agent"]})
    report = bench.run().error_report
    assert report is not None
    assert report.error.code == "AGENT_CANNOT_START"
    assert "/no/such/agent" in report.error.message


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (f"mkfifo {RESULT}", "not a regular file"),
        (f"ln -s /etc/passwd {RESULT}", "symlink"),
        (f"head -c 3000000 /dev/zero > {RESULT}", "bytes"),
        (f"mkdir {RESULT}", "not a regular file"),
        ("echo '{\"summary\": 7}' > " + RESULT, "summary"),
        ("echo '{' > " + RESULT, "JSON"),
    ],
)
def test_a_report_that_cannot_be_used_is_a_warning(bench: Bench, make: str, why: str):
    bench.order(f"{make}; mkfifo {EVENTS}; echo my last words")
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED
    assert result.summary == "my last words"
    assert [warning for warning in result.warnings if why in warning], result.warnings


def test_a_retry_is_a_fact_of_the_log(bench: Bench):
    bench.order("true", retry_reason="could not now", retry_of=3)
    bench.run()
    assert "\nretry 1/3 could not now\n" in "\n" + bench.log()


def test_what_a_failed_agent_recommends_is_the_next_step(bench: Bench):
    report = '{"reason": "no compiler", "recommendation": "Run: apt install gcc"}'
    bench.order(f"echo '{report}' > {RESULT}; exit 127")
    error = bench.run().error_report
    assert error is not None
    assert (error.error.code, error.next_steps.suggested_action) == ("COMMAND_NOT_FOUND", "Run: apt install gcc")
    assert error.error.message == "The agent failed with exit code 127: no compiler"
