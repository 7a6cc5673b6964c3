"""A run of tests in words, as the guide writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from haikud.agent.testing.facts import COVERAGE_NAMES

if TYPE_CHECKING:
    from haikud.agent.attempt import Tested

MOST_LISTED = 20
"""Failures that a summary names; the answer has more."""

_LABELS = {"all": "Tests", "e2e": "E2E tests", "api": "API tests", "ui": "UI tests"}


def kind_label(name: str) -> str:
    """`unit`: `Unit tests`."""
    if name.lower() in _LABELS:
        return _LABELS[name.lower()]
    words = name.replace("_", " ").replace("-", " ").strip()
    whole = words[:1].upper() + words[1:]
    return whole if words.lower().endswith(("test", "tests")) else f"{whole} tests"


def verdict_line(name: str, tested: Tested, seconds: float) -> str:
    """`✅ Unit tests: 45/45 passing (2.3s)`; where nothing was counted, the exit code."""
    facts = tested.facts
    sign = "✅" if tested.passing else "❌"
    if tested.timed_out:
        said = "ended at the time limit"
    elif facts.is_empty:
        said = "passing" if tested.passing else f"exit code {tested.runs[-1].exit_code}"
    else:
        said = f"{facts.passed}/{facts.passed + facts.failed} {'' if facts.unit == 'tests' else 'packages '}passing"
        said += f", {facts.skipped} skipped" if facts.skipped else ""
    again = ", flaky" if tested.flaky else ""
    return f"{sign} {kind_label(name)}: {said}{again} ({seconds:.1f}s)"


def coverage_line(coverage: Mapping[str, float]) -> str:
    """`Coverage: statements 87.3%, ...`."""
    return "Coverage: " + ", ".join(f"{name} {coverage[name]:.1f}%" for name in COVERAGE_NAMES if name in coverage)


def summary_of(lines: list[str], failures: Sequence[Mapping[str, str]], *, passing: bool, issues: list[int]) -> str:
    """The guide's final report."""
    if passing:
        return "\n".join([*lines, "All tests passing! ✅"])
    count = f"{len(failures)} failure{'' if len(failures) == 1 else 's'}" if failures else "failures"
    listed = [f"- {one['file'] or one['name']}: {one['message'] or one['name']}" for one in failures[:MOST_LISTED]]
    if len(failures) > MOST_LISTED:
        listed.append(f"- and {len(failures) - MOST_LISTED} more")
    told = [f"Created issues: {', '.join(f'#{number}' for number in issues)}"] if issues else []
    return "\n".join([f"⚠️ Test suite completed with {count}", *lines, *listed, *told])
