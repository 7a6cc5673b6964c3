"""Reading the output of test programs: pytest, unittest, jest, vitest, mocha, node's own, go and cargo.

Every program's own closing lines are looked for, so that several in one command (`make test`) are added up. Output is
untrusted: it is read line by line with expressions that do not backtrack, and long lines are cut.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from haikud.agent.testing.compiled_text import read_cargo, read_go
from haikud.agent.testing.coverage_text import read_coverage
from haikud.agent.testing.facts import TestFacts, add_up, counted
from haikud.agent.testing.javascript_text import read_jest, read_mocha, read_node, read_vitest
from haikud.agent.testing.python_text import read_pytest, read_unittest

LONGEST_LINE = 2_000

_COLOURS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_READERS: tuple[Callable[[list[str]], TestFacts], ...] = (
    read_pytest,
    read_unittest,
    read_jest,
    read_vitest,
    read_mocha,
    read_node,
    read_go,
    read_cargo,
)
_PASS_WORDS = {"passed": "passed", "passing": "passed", "failed": "failed", "failing": "failed", "skipped": "skipped"}
_COUNT = re.compile(r"\b(\d{1,9})\s+(passed|passing|failed|failing|skipped|errors?)\b")
_RATIO = re.compile(r"\b(\d{1,9})/(\d{1,9}) passing\b")


def read_output(output: str) -> TestFacts:
    """What the output tells; empty facts where it tells nothing that is known."""
    lines = [line[:LONGEST_LINE] for line in _COLOURS.sub("", output).splitlines()]
    facts = add_up([reader(lines) for reader in _READERS])
    if facts.is_empty and not facts.failures:
        facts = _read_any(lines)
    coverage = facts.coverage | read_coverage(lines)
    return dataclasses.replace(facts, coverage=coverage)


def _read_any(lines: list[str]) -> TestFacts:
    """`8/10 passing`, or the last line that counts passed and failed tests, of a program that nobody knows."""
    if ratio := _RATIO.findall("\n".join(lines)):
        passed, total = (sum(int(pair[n]) for pair in ratio) for n in (0, 1))
        return TestFacts(passed=passed, failed=max(total - passed, 0))
    for line in reversed(lines):
        counts: dict[str, int] = {}
        for number, word in _COUNT.findall(line):
            name = _PASS_WORDS.get(word, "failed")
            counts[name] = counts.get(name, 0) + int(number)
        if "passed" in counts or "failed" in counts:
            return counted(counts)
    return TestFacts()
