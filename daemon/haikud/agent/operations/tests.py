"""test-runner: run test commands and report what they said, without a model.

One command, or several by kind (`commands: {unit: ..., integration: ..., e2e: ...}`), each told of as it ends: the
guide's streaming progress. A kind that fails does not keep the others from running. Failures become issues only where
the request asks for it (`create_issues`), one for each failing test, found again by its marker when tried again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from haikud.agent.attempt import Attempt, Tested, clean_text
from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.issue_words import fenced, log_line
from haikud.agent.operations.params import Params, read_params, refused
from haikud.agent.testing.facts import FailedTest, one_line
from haikud.agent.testing.words import coverage_line, kind_label, summary_of, verdict_line
from haikud.agent.trackers import effect_marker, tracker_of
from haikud.agent.verification import results_of, run_tests
from haikud.contracts.tracker import TrackerTrouble
from haikud.spool.models import UnreadableFile

MOST_ISSUES = 20
MOST_KINDS = 20


class TestRun(Params):
    """run_tests."""

    __test__ = False  # not a test of ours

    command: str | None = Field(None, min_length=1)
    commands: dict[str, str] = Field(default_factory=dict, max_length=MOST_KINDS)
    report: str | list[str] | dict[str, str | list[str]] | None = None  # where the command, or each kind, writes it
    create_issues: bool = False
    labels: list[str] = Field(default_factory=list)  # of the issues


@dataclass(frozen=True)
class Kind:
    """One command, and where it writes its reports."""

    name: str
    command: str
    reports: Sequence[str]


@dataclass(frozen=True)
class _Ran:
    kind: Kind
    tested: Tested

    @property
    def seconds(self) -> float:
        return self.tested.last.ended.seconds


def run_test_command(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Run each command; on a failure once more. The answer has suites, counts, failures, coverage and reports."""
    wanted = read_params("run_tests", params, TestRun)
    kinds = kinds_of(wanted, attempt.spec.task.context.test_command)
    ran: list[_Ran] = []
    verification: list[Any] = []
    attempt.evidence["verification"] = verification
    _tell(attempt, ran, kinds)
    for kind in kinds:
        try:
            tested = run_tests(attempt, kind.command, kind.reports)
        except BadInput as error:
            raise refused("run_tests", "BAD_PARAMS", f"params.report: {error}") from error
        verification.extend(tested.runs)
        ran.append(_Ran(kind, tested))
        _tell(attempt, ran, kinds)
    judged = next((one for one in ran if not one.tested.passing), ran[-1]).tested
    passing, flaky = all(one.tested.passing for one in ran), any(one.tested.flaky for one in ran)
    attempt.tested = Tested(judged.runs, passing, flaky, judged.last, judged.facts, judged.reports)
    attempt.evidence.update(tests_passing=passing, flaky=flaky)
    payload = _payload(attempt, ran, judged, passing=passing, flaky=flaky)
    created = _open_issues(attempt, ran, wanted.labels) if wanted.create_issues and not passing else []
    if wanted.create_issues:
        payload["issues_created"] = created
    attempt.summary = _summary(ran, payload, created)
    attempt.log.line(attempt.summary)
    attempt.events.progress(100, attempt.summary.splitlines()[-1 if passing else 0])
    return payload


def kinds_of(wanted: TestRun, default: str | None) -> list[Kind]:
    """The commands to run, in the order of the request; Failed where they make no sense."""
    of_kind = wanted.report if isinstance(wanted.report, dict) else {}
    if wanted.commands:
        if wanted.command:
            raise refused("run_tests", "BAD_PARAMS", "params.command and params.commands: give one of them")
        empty = [name for name, command in wanted.commands.items() if not command.strip() or not name.strip()]
        unknown = sorted(of_kind.keys() - wanted.commands.keys())
        if empty or unknown:
            what = f"{empty[0]!r} has no command" if empty else f"params.report: there is no kind {unknown[0]!r}"
            raise refused("run_tests", "BAD_PARAMS", f"params.commands: {what}")
        shared = () if isinstance(wanted.report, dict) else _paths(wanted.report)
        return [Kind(name, command, (*shared, *_paths(of_kind.get(name)))) for name, command in wanted.commands.items()]
    command = wanted.command or default
    if not command:
        why = "neither params.command, params.commands nor context.test_command is given"
        raise refused("run_tests", "NO_TEST_COMMAND", why)
    if isinstance(wanted.report, dict):
        raise refused("run_tests", "BAD_PARAMS", "params.report: a path, or a list of paths, for one command")
    return [Kind("all", command, _paths(wanted.report))]


def _paths(stated: str | list[str] | None) -> tuple[str, ...]:
    return () if stated is None else (stated,) if isinstance(stated, str) else tuple(stated)


def _tell(attempt: Attempt, ran: list[_Ran], kinds: list[Kind]) -> None:
    """The guide's progress update: what is through, and what is running now. Of three kinds: 25, 50 and 75 percent."""
    lines = [verdict_line(one.kind.name, one.tested, one.seconds) for one in ran[-1:]]
    lines += [f"⏳ {kind_label(kind.name)}: running" for kind in kinds[len(ran) : len(ran) + 1]]
    attempt.log.line("\n".join(lines))
    attempt.events.progress(100 * len(ran) // (len(kinds) + 1) or None, "; ".join(lines))


def _payload(attempt: Attempt, ran: list[_Ran], judged: Tested, *, passing: bool, flaky: bool) -> dict[str, Any]:
    ended = judged.last.ended
    several = len(ran) > 1
    reports = list(dict.fromkeys(report for one in ran for report in one.tested.reports))
    facts = [one.tested.facts for one in ran]
    counts: dict[str, int] = {}
    for one in facts:
        for name, number in one.counts.items():
            counts[name] = counts.get(name, 0) + number
    payload: dict[str, Any] = {
        "success": passing,
        **({} if several else {"command": ran[0].kind.command}),
        "exit_code": ended.exit_code,
        "seconds": round(sum(one.seconds for one in ran), 3),
        "timed_out": any(one.tested.timed_out for one in ran),
        "flaky": flaky,
        "suites": [_suite(one) for one in ran] if several else _suites_of_one(ran[0]),
        "failures": [
            {**({"suite": one.kind.name} if several else {}), **failure.shown()}
            for one in ran
            if not one.tested.passing
            for failure in one.tested.facts.failures
        ],
        "output_tail": clean_text(judged.last.tail[-4000:]),
    }
    if counts:
        payload["tests"] = counts
    if any(one.unit != "tests" for one in facts):
        payload["counted"] = "packages"
    if coverage := next((one.coverage for one in reversed(facts) if one.coverage), None):
        payload["coverage"] = coverage
    if reports:
        paths = [str(attempt.worktree / report) for report in reports]
        payload["artifacts"] = {"test_report": paths[0], "test_reports": paths}
    return payload


def _suite(ran: _Ran) -> dict[str, Any]:
    """One kind of tests: what it counted (null where it did not say) and how long it took."""
    facts, run = ran.tested.facts, ran.tested.runs[-1]
    unknown = facts.is_empty
    shown = {
        "name": ran.kind.name,
        "command": ran.kind.command,
        "passing": ran.tested.passing,
        "exit_code": run.exit_code,
        "passed": None if unknown else facts.passed,
        "failed": None if unknown else facts.failed,
        "skipped": None if unknown else facts.skipped,
        "total": None if unknown else facts.passed + facts.failed,
        "seconds": round(ran.seconds, 3),
    }
    return shown | ({"coverage": facts.coverage} if facts.coverage else {})


def _suites_of_one(ran: _Ran) -> list[dict[str, Any]]:
    """Of one command its own parts, where it told of several."""
    found = results_of(ran.tested.facts, ()).get("suites")
    return list(found) if isinstance(found, list) else [_suite(ran)]


def _summary(ran: list[_Ran], payload: dict[str, Any], created: list[int]) -> str:
    lines = [verdict_line(one.kind.name, one.tested, one.seconds) for one in ran]
    if coverage := payload.get("coverage"):
        lines.append(coverage_line(coverage))
    if len(ran) > 1:
        lines.append(f"Total duration: {payload['seconds']:.1f}s")
    return summary_of(lines, payload["failures"], passing=payload["success"], issues=created)


def _open_issues(attempt: Attempt, ran: list[_Ran], labels: list[str]) -> list[int]:
    """An issue for each failing test. What the tracker cannot do is a warning: the tests have been run."""
    wanted = [
        (one.kind, failure)
        for one in ran
        if not one.tested.passing
        for failure in one.tested.facts.failures or (FailedTest(f"`{one.kind.command}` fails"),)
    ]
    if len(wanted) > MOST_ISSUES:
        attempt.warn(f"{len(wanted)} tests fail; issues were opened for the first {MOST_ISSUES}")
    created: list[int] = []
    try:
        tracker = tracker_of(attempt)
    except TrackerTrouble as error:
        attempt.warn(f"no issues for the failing tests: {error}. {error.cure}")
        return created
    for kind, failure in wanted[:MOST_ISSUES]:
        key = hashlib.sha256(repr((kind.name, failure.file, failure.name)).encode()).hexdigest()[:16]
        marker = effect_marker(attempt, f"run_tests.{key}")
        title = one_line(f"{failure.file}: {failure.name}" if failure.file else failure.name)[:120]
        try:
            issue = tracker.create(title, _body(attempt, kind, failure), labels, marker)
        except (TrackerTrouble, UnreadableFile) as error:
            cure = f". {error.cure}" if isinstance(error, TrackerTrouble) else ""
            attempt.warn(f"no issue for {title}: {error}{cure}")
            break
        created.append(issue.number)
    return created


def _body(attempt: Attempt, kind: Kind, failure: FailedTest) -> str:
    shown = failure.shown()
    lines = [f"{kind_label(kind.name)} fail.", fenced(shown["message"]), f"Command: `{one_line(kind.command)}`"]
    if attempt.start_sha:
        lines.append(f"Commit: {attempt.start_sha}")
    lines.append(log_line(attempt))
    return "\n\n".join(line for line in lines if line)
