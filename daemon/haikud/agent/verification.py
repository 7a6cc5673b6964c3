"""Running a task's checks: its tests, once more where they fail, and its linter.

What counts is the exit code, measured here. A pass after a failure counts, and is noted as flaky (the guide's "test
flakiness: retry once"). A run over its limit is not tried again. Signs of counting in the output are reported, never
judged by.
"""

from __future__ import annotations

import re
from typing import Literal

from haikud.agent.attempt import Attempt, Outcome, Tested, shell
from haikud.contracts.evidence import VerificationRun
from haikud.sandbox.commands import CannotStart
from haikud.spool.agent_log import escape_text
from haikud.spool.refusals import refused_by_machine

_PASS_WORDS = {"passed": "passed", "passing": "passed", "failed": "failed", "failing": "failed"}
_COUNT = re.compile(r"\b(\d+)\s+(passed|passing|failed|failing|skipped|errors?)\b")
_RATIO = re.compile(r"\b(\d+)/(\d+) passing\b")
_UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_UNITTEST_BAD = re.compile(r"^FAILED \(([^)]*)\)", re.MULTILINE)


def run_tests(attempt: Attempt, command: str) -> Tested:
    """Run the tests; on a failure, but not at the time limit, once more. Raises Stopped."""
    run, outcome = run_check(attempt, "test", command)
    if run.exit_code == 0 or run.timed_out:
        return Tested([run], run.exit_code == 0, flaky=False, last=outcome)
    attempt.log.line(f"the tests failed with exit code {run.exit_code}; once more, in case they are flaky")
    attempt.events.note("Tests failed; running them once more")
    again, outcome = run_check(attempt, "test", command)
    return Tested([run, again], again.exit_code == 0, flaky=again.exit_code == 0, last=outcome)


def run_check(
    attempt: Attempt, kind: Literal["test", "lint", "optional_test"], command: str
) -> tuple[VerificationRun, Outcome]:
    """One run of TEST_COMMAND, LINT_COMMAND or an optional test in the worktree. Raises Stopped, CannotStart."""
    words = kind.replace("_", " ")
    attempt.log.line(f"running the {words} command: {command}")
    outcome = attempt.run_untrusted(shell(command), what=f"{words} command", timeout=attempt.spec.limits.test_seconds)
    ended = outcome.ended
    how = (
        f"ended at its limit of {attempt.spec.limits.test_seconds:g} s"
        if ended.timed_out
        else f"exit code {ended.exit_code}"
    )
    attempt.log.line(f"the {words} command: {how}, {ended.seconds:.1f} s")
    run = VerificationRun(
        kind=kind,
        command=command,
        exit_code=ended.exit_code,
        seconds=round(ended.seconds, 3),
        timed_out=ended.timed_out,
        log_offset=outcome.log_offset,
        log_end=outcome.log_end,
    )
    return run, outcome


def run_optional(attempt: Attempt, command: str) -> VerificationRun | None:
    """Run a test that need not pass (the guide: "Non-critical tests fail -> warn and continue"). Raises Stopped."""
    try:
        run, outcome = run_check(attempt, "optional_test", command)
    except CannotStart as error:
        if refused_by_machine(error):
            raise
        attempt.warn(f"optional tests could not be started: {error}")
        return None
    if run.exit_code != 0:
        how = "were ended at their time limit" if run.timed_out else f"failed with exit code {run.exit_code}"
        last = f": {escape_text(outcome.last_line)[:200]}" if outcome.last_line else ""
        attempt.warn(f"optional tests {how}{last}; reported only: {command}")
    return run


def count_tests(output: str) -> dict[str, int]:
    """`passed`, `failed`, `skipped` as the usual test programs print them; what is not obvious is absent."""
    if ratio := _RATIO.findall(output):
        passed, total = (sum(int(pair[n]) for pair in ratio) for n in (0, 1))
        return {"passed": passed, "failed": total - passed}
    if ran := _UNITTEST.findall(output):
        bad = _UNITTEST_BAD.findall(output)
        details = dict(re.findall(r"(\w+)=(\d+)", bad[-1])) if bad else {}
        failed = int(details.get("failures", 0)) + int(details.get("errors", 0))
        return {"passed": int(ran[-1]) - failed, "failed": failed}
    for line in reversed(output.splitlines()):
        counts: dict[str, int] = {}
        for number, word in _COUNT.findall(line):
            name = _PASS_WORDS.get(word, "failed" if word.startswith("error") else word)
            counts[name] = counts.get(name, 0) + int(number)
        if "passed" in counts or "failed" in counts:
            return {"passed": 0, "failed": 0} | counts
    return {}
