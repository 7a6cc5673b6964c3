"""One run's facts, from its output and its reports together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from haikud.agent.testing.facts import FailedTest, TestFacts
from haikud.agent.testing.reports import ReadReports
from haikud.agent.testing.text import read_output


def gather_facts(worktree: Path, output: str, reports: ReadReports) -> TestFacts:
    """Reports tell more than output; where they count fewer tests, they are of one program of several.

    Coverage comes from a file before it comes from a table. Paths beneath the worktree are relative to it.
    """
    text = read_output(output)
    whole = _size(reports.facts) >= _size(text) and not reports.facts.is_empty
    chosen = reports.facts if whole else text
    files = {failure.name: failure.file for failure in text.failures}
    failures = tuple(
        FailedTest(one.name, _relative(worktree, _file_of(one, files)), one.message) for one in chosen.failures
    )
    seconds = text.seconds if text.seconds is not None else chosen.seconds
    coverage = text.coverage | reports.coverage
    return dataclasses.replace(chosen, failures=failures, coverage=coverage, seconds=seconds)


def _size(facts: TestFacts) -> int:
    return facts.passed + facts.failed + facts.skipped


def _file_of(failure: FailedTest, files: dict[str, str]) -> str:
    """A report that names a class instead of a file is helped by the output."""
    return failure.file if "/" in failure.file else files.get(failure.name) or failure.file


def _relative(worktree: Path, file: str) -> str:
    return file.removeprefix("file://").removeprefix(f"{worktree}/")
