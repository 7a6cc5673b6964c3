"""Report files that a test command wrote in the worktree: found by the request's names or well-known ones, and read.

Only what the run made or changed counts: a report that was there before is of another run. The files are untrusted:
they are opened beneath the worktree whatever symlinks say, must be regular, are capped in size and number. A report
that cannot be used is a warning, never an error: the exit code is what counts.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.haiku.tools.paths import Beneath
from haikud.agent.testing.coverage_files import read_coverage_file
from haikud.agent.testing.facts import TestFacts, add_up
from haikud.agent.testing.junit import BadReport, read_junit

LARGEST_REPORT = 8 * 1_048_576
MOST_REPORTS = 50
MOST_ENTRIES = 5_000
"""Of one folder that are looked at."""

_FOLDERS = (
    *(".", "report", "reports", "reports/junit", "results", "test-report", "test-reports", "test-results", "junit"),
    *("build/test-results", "build/test-results/test", "target/surefire-reports", "target/failsafe-reports"),
    *("coverage", "coverage/lcov-report", "htmlcov", "build/reports/tests/test", "playwright-report", "artifacts"),
)
_COVERAGE = (
    *("coverage.xml", "coverage-*.xml", "cobertura*.xml", "clover.xml", "coverage.json", "coverage-summary.json"),
    *("coverage-final.json", "lcov.info"),
)
_TESTS = (
    *("test-*.xml", "junit*.xml", "*junit.xml", "*-tests.xml", "*test-report*.xml", "*test-results*.xml", "report.xml"),
    *("results.xml", "pytest*.xml", "e2e*.xml", "unit*.xml", "integration*.xml", "test*.xml"),
)
_PAGES = ("report.html", "*test-report*.html", "*test-results*.html", "pytest*.html", "junit*.html", "mochawesome.html")
_PAGE_FOLDERS = frozenset({"playwright-report", "build/reports/tests/test", "test-report", "test-reports"})
"""Where index.html is a report of tests; in other folders it is one of coverage, or the project's own."""

_State = tuple[int, int, int]


@dataclass(frozen=True)
class ReadReports:
    """What the reports of one run told."""

    facts: TestFacts
    coverage: dict[str, float]
    files: list[str]  # reports of tests, relative to the worktree, XML before HTML
    warnings: list[str] = field(default_factory=list)


class ReportWatch:
    """Made before a run; afterwards tells what is new. `named`: the request's own paths, `*` in their last part."""

    def __init__(self, worktree: Path, named: Sequence[str] = ()) -> None:
        """Raises BadInput for a named path outside the worktree."""
        self._files = Beneath(worktree)
        self._named = [self._files.relative(name) for name in named]
        self._before = self._look()

    def read(self) -> ReadReports:
        """The reports that were written since."""
        now = self._look()
        fresh = [name for name in sorted(now) if now[name] != self._before.get(name)]
        warnings = [
            f"the test report {pattern} was not written by this run"
            for pattern in self._named
            if not any(_fits(name, pattern) for name in fresh)
        ]
        facts: list[TestFacts] = []
        coverage: dict[str, float] = {}
        reports: list[str] = []
        if len(fresh) > MOST_REPORTS:
            warnings.append(f"{len(fresh)} report files; only the first {MOST_REPORTS} were read")
        for name in fresh[:MOST_REPORTS]:
            if name.endswith((".html", ".htm")):
                reports.append(name)
                continue
            try:
                data = self._files.read(PurePosixPath(name), LARGEST_REPORT)
                if _is_like(name, _COVERAGE):
                    coverage = read_coverage_file(name, data) | coverage
                elif name.endswith(".xml") and (found := read_junit(data)) is not None:
                    facts.append(found)
                    reports.append(name)
            except (BadReport, BadInput) as error:
                warnings.append(f"the report {name} was not used: {error}")
            except OSError as error:
                warnings.append(f"the report {name} cannot be read: {error.strerror}")
        reports.sort(key=lambda name: (not name.endswith(".xml"), name))
        return ReadReports(add_up(facts), coverage, reports, warnings)

    def _look(self) -> dict[str, _State]:
        found: dict[str, _State] = {}
        for known in _FOLDERS:
            for name, state in self._entries(PurePosixPath(known)):
                path = name if known == "." else f"{known}/{name}"
                is_page = name == "index.html" and known in _PAGE_FOLDERS
                if is_page or _is_like(name, (*_COVERAGE, *_TESTS, *_PAGES)):
                    found[path] = state
        for pattern in self._named:
            for folder in (pattern.parent, pattern):
                for name, state in self._entries(folder):
                    if _fits(str(folder / name), pattern):
                        found[str(folder / name)] = state
        return found

    def _entries(self, folder: PurePosixPath) -> list[tuple[str, _State]]:
        """The regular files in a folder; none where it is no folder, or lies outside."""
        found: list[tuple[str, _State]] = []
        try:
            with self._files.opened(folder, os.O_RDONLY | os.O_DIRECTORY) as opened, os.scandir(opened) as scan:
                for entry, _ in zip(scan, range(MOST_ENTRIES), strict=False):
                    if entry.name.endswith((".xml", ".html", ".htm", ".json", ".info")):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found.append((entry.name, (status.st_mtime_ns, status.st_size, status.st_ino)))
        except (OSError, BadInput):
            return found
        return found


def _is_like(name: str, patterns: Sequence[str]) -> bool:
    last = name.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in patterns)


def _fits(name: str, pattern: PurePosixPath) -> bool:
    """Whether a path is meant by a named one: itself, in it, or like its last part."""
    path = PurePosixPath(name)
    if pattern in {path, path.parent}:
        return True
    return "*" in pattern.name and path.parent == pattern.parent and fnmatch.fnmatchcase(path.name, pattern.name)
