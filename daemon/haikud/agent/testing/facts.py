"""What is known of a run of tests, whichever program ran them. Signs of it are reported, never judged by.

`passed`, `failed` and `skipped` count tests; where a program tells of packages only (go without -v), `unit` says so.
A suite's total is what ran: the skipped are beside it, as the guide's `45/45 passing` has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_FAILURES = 100
MOST_SUITES = 50
MOST_MESSAGE = 500
"""Characters; the log has the rest."""

COVERAGE_NAMES = ("statements", "branches", "functions", "lines")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class FailedTest:
    """One failure. `file` is what the program named: a path, a package, or nothing."""

    name: str
    file: str = ""
    message: str = ""

    def shown(self) -> dict[str, str]:
        """As it stands in an answer: one line each, and not endless."""
        return {key: one_line(getattr(self, key)) for key in ("file", "name", "message")}


@dataclass(frozen=True)
class Suite:
    """A part of a run: a file, a package, a kind of tests."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float | None = None

    @property
    def total(self) -> int:
        """How many ran."""
        return self.passed + self.failed

    def shown(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {
            "name": one_line(self.name),
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "total": self.total,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }


@dataclass(frozen=True)
class TestFacts:
    """All that one run of a test command told."""

    __test__ = False  # no test of ours

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    suites: tuple[Suite, ...] = ()
    failures: tuple[FailedTest, ...] = ()
    coverage: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None  # as the program says
    unit: str = "tests"

    @property
    def is_empty(self) -> bool:
        """Whether no test was counted."""
        return not (self.passed or self.failed or self.skipped)

    @property
    def counts(self) -> dict[str, int]:
        """`passed`, `failed`, and `skipped` where there are any; empty where nothing was counted."""
        if self.is_empty:
            return {}
        counts = {"passed": self.passed, "failed": self.failed}
        return counts | ({"skipped": self.skipped} if self.skipped else {})


def counted(
    counts: Mapping[str, int], seconds: float | None = None, failures: tuple[FailedTest, ...] = ()
) -> TestFacts:
    """Facts of a reading that counted `passed`, `failed` and `skipped`."""
    passed, failed, skipped = (counts.get(name, 0) for name in ("passed", "failed", "skipped"))
    return TestFacts(passed, failed, skipped, failures=failures, seconds=seconds)


def add_up(parts: Iterable[TestFacts]) -> TestFacts:
    """Several programs' facts as one. Coverage is the last one's that has any: totals of totals mean nothing."""
    found = [part for part in parts if not part.is_empty or part.failures or part.coverage]
    if len(found) == 1:
        return found[0]
    seconds = [part.seconds for part in found if part.seconds is not None]
    units = {part.unit for part in found if not part.is_empty}
    return TestFacts(
        passed=sum(part.passed for part in found),
        failed=sum(part.failed for part in found),
        skipped=sum(part.skipped for part in found),
        suites=tuple(suite for part in found for suite in part.suites)[:MOST_SUITES],
        failures=tuple(failure for part in found for failure in part.failures)[:MOST_FAILURES],
        coverage=next((part.coverage for part in reversed(found) if part.coverage), {}),
        seconds=sum(seconds) if seconds else None,
        unit=units.pop() if len(units) == 1 else "tests",
    )


def one_line(text: str) -> str:
    """Untrusted text for an answer: one line of at most MOST_MESSAGE characters."""
    line = _CONTROLS.sub(" ", text).strip()
    return line if len(line) <= MOST_MESSAGE else f"{line[: MOST_MESSAGE - 3]}..."


def distinct(failures: Iterable[FailedTest]) -> tuple[FailedTest, ...]:
    """Each failure once, the first MOST_FAILURES: programs like to print them again at the end."""
    return tuple({(one.file, one.name): one for one in reversed(list(failures))}.values())[::-1][:MOST_FAILURES]
