"""test-runner: run a test command and report what it said, without a model."""

from __future__ import annotations

from typing import Any

from haikud.agent.attempt import Attempt, clean_text
from haikud.agent.operations.params import Params, read_params, refused
from haikud.agent.verification import count_tests, run_tests


class TestRun(Params):
    """run_tests."""

    __test__ = False  # not a test of ours

    command: str | None = None


def run_test_command(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Run `params.command`, else the task's TEST_COMMAND; on a failure once more."""
    wanted = read_params("run_tests", params, TestRun)
    command = wanted.command or attempt.spec.task.context.test_command
    if not command:
        raise refused("run_tests", "NO_TEST_COMMAND", "neither params.command nor context.test_command is given")
    tested = run_tests(attempt, command)
    attempt.evidence.update(verification=tested.runs, tests_passing=tested.passing, flaky=tested.flaky)
    attempt.tested = tested
    ended = tested.last.ended
    counts = count_tests(tested.last.tail)
    payload: dict[str, Any] = {
        "success": tested.passing,
        "command": command,
        "exit_code": ended.exit_code,
        "seconds": round(ended.seconds, 3),
        "timed_out": ended.timed_out,
        "flaky": tested.flaky,
        "output_tail": clean_text(tested.last.tail[-4000:]),
    }
    if counts:
        payload["tests"] = counts
    attempt.summary = (
        f"{'All tests pass' if tested.passing else 'The tests fail'}: {_in_words(counts, ended.exit_code)}"
    )
    return payload


def _in_words(counts: dict[str, int], exit_code: int | None) -> str:
    numbers = ", ".join(f"{number} {name}" for name, number in counts.items())
    return numbers or ("ended at the time limit" if exit_code is None else f"exit code {exit_code}")
