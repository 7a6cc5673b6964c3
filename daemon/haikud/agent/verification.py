"""Running a task's checks: its tests, once more where they fail, and its linter.

What counts is the exit code, measured here. A pass after a failure counts, and is noted as flaky (the guide's "test
flakiness: retry once"). A run over its limit is not tried again. Signs of counting in the output are reported, never
judged by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from haikud.agent.attempt import TAIL_BYTES, TEST_OUTPUT_BYTES, Attempt, Outcome, Tested
from haikud.agent.testing.facts import TestFacts
from haikud.agent.testing.gather import gather_facts
from haikud.agent.testing.reports import ReportWatch
from haikud.contracts.evidence import VerificationRun
from haikud.sandbox.commands import CannotStart, shell
from haikud.spool.agent_log import escape_text
from haikud.spool.refusals import refused_by_machine


def run_tests(attempt: Attempt, command: str, reports: Sequence[str] = ()) -> Tested:
    """Run the tests; on a failure, but not at the time limit, once more. Raises Stopped.

    `reports` are paths at which the command writes its reports, beside the well-known ones; BadInput for one outside.
    """
    tested = _run_tests_once(attempt, command, reports)
    first = tested.runs[0]
    if tested.passing or first.timed_out:
        return tested
    attempt.log.line(f"the tests failed with exit code {first.exit_code}; once more, in case they are flaky")
    attempt.events.note("Tests failed; running them once more")
    again = _run_tests_once(attempt, command, reports)
    return dataclasses.replace(again, runs=[first, *again.runs], flaky=again.passing)


def _run_tests_once(attempt: Attempt, command: str, reports: Sequence[str]) -> Tested:
    watch = ReportWatch(attempt.worktree, reports)
    run, outcome = run_check(attempt, "test", command)
    found = watch.read()
    for warning in found.warnings:
        if warning not in attempt.warnings:
            attempt.warn(warning)
    facts = gather_facts(attempt.worktree, outcome.tail, found)
    run = run.model_copy(update={"counts": facts.counts, "reports": found.files})
    last = dataclasses.replace(outcome, tail=outcome.tail[-TAIL_BYTES:])
    return Tested([run], run.exit_code == 0, flaky=False, last=last, facts=facts, reports=found.files)


def run_check(
    attempt: Attempt, kind: Literal["test", "lint", "optional_test"], command: str
) -> tuple[VerificationRun, Outcome]:
    """One run of TEST_COMMAND, LINT_COMMAND or an optional test in the worktree. Raises Stopped, CannotStart."""
    words = kind.replace("_", " ")
    attempt.log.line(f"running the {words} command: {command}")
    outcome = attempt.run_untrusted(
        shell(command),
        what=f"{words} command",
        timeout=attempt.spec.limits.test_seconds,
        keep=TEST_OUTPUT_BYTES if kind == "test" else TAIL_BYTES,
    )
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


def results_of(facts: TestFacts, reports: Sequence[str]) -> dict[str, object]:
    """What the tests said, as an answer shows it; empty where nothing of it was understood."""
    shown: dict[str, object] = {}
    if facts.counts:
        shown["tests"] = facts.counts
    if facts.unit != "tests":
        shown["counted"] = facts.unit
    if facts.suites:
        shown["suites"] = [suite.shown() for suite in facts.suites]
    if facts.coverage:
        shown["coverage"] = facts.coverage
    if facts.failures:
        shown["failures"] = [failure.shown() for failure in facts.failures]
    if reports:
        shown["reports"] = list(reports)
    return shown


def in_words(counts: dict[str, int]) -> str:
    """`10 passed, 2 failed`; nothing where nothing was counted."""
    return ", ".join(f"{number} {name}" for name, number in counts.items())
