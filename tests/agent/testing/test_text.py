"""What is read from the real output of test programs (tests/data/test_outputs says how it was made)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from haikud.agent.testing.facts import MOST_FAILURES
from haikud.agent.testing.text import read_output

DATA = Path(__file__).resolve().parents[2] / "data" / "test_outputs"

EXPECTED = {
    # file: (passed, failed, skipped), seconds, coverage, unit
    "cargo-fail": ((4, 1, 1), 0.0, {}, "tests"),
    "cargo-pass": ((3, 0, 1), 0.02, {}, "tests"),
    "go-build-failed": ((1, 2, 0), 0.01, {}, "packages"),
    "go-cover": ((1, 1, 0), 0.01, {}, "packages"),
    "go-fail": ((1, 1, 0), 0.015, {}, "packages"),
    "go-fail-json": ((5, 2, 1), 0.008, {}, "tests"),
    "go-fail-verbose": ((5, 2, 1), 0.021, {}, "tests"),
    "go-pass": ((1, 0, 0), 0.008, {}, "packages"),
    "jest-colour": ((2, 1, 1), 1.756, {}, "tests"),
    "jest-coverage": ((2, 0, 1), 2.233, (58.33, 57.14, 60.0, 85.71), "tests"),
    "jest-coverage-summary": ((2, 0, 1), 2.306, (58.33, 57.14, 60.0, 85.71), "tests"),
    "jest-fail": ((3, 3, 1), 2.233, {}, "tests"),
    "mocha-fail": ((2, 2, 1), 0.061, {}, "tests"),
    "mocha-nyc": ((2, 0, 1), 0.011, (71.42, 42.85, 70.0, 75.0), "tests"),
    "mocha-pass": ((2, 0, 1), 0.014, {}, "tests"),
    "node-test-fail": ((1, 1, 1), 0.434, {}, "tests"),
    "node-test-spec-fail": ((1, 1, 1), 0.623, {}, "tests"),
    "pytest-collect": ((0, 1, 0), 0.57, {}, "tests"),
    "pytest-cov": ((4, 0, 2), 0.66, {"statements": 83.33, "lines": 83.33}, "tests"),
    "pytest-cov-lines": ((4, 0, 2), 0.33, {"statements": 83.33, "lines": 83.33}, "tests"),
    "pytest-fail": ((4, 3, 2), 0.23, {}, "tests"),
    "pytest-fail-quiet": ((4, 3, 2), 0.09, {}, "tests"),
    "pytest-pass": ((4, 0, 2), 0.1, {}, "tests"),
    "pytest-xdist": ((4, 3, 2), 9.14, {}, "tests"),
    "unittest-fail": ((1, 2, 1), 0.006, {}, "tests"),
    "unittest-pass": ((1, 0, 1), 0.0, {}, "tests"),
    "vitest-coverage": ((1, 0, 1), 1.61, (45.45, 66.66, 33.33, 45.45), "tests"),
    "vitest-fail": ((1, 2, 1), 1.79, {}, "tests"),
    "vitest-pass": ((1, 0, 1), 0.998, {}, "tests"),
}

MARK = "\u203a"  # between the names of jest's blocks

PYTEST = [
    ("tests/test_bad.py", "test_discount", "ten percent"),
    ("tests/test_bad.py", "test_long_label", "a very long"),
    ("tests/test_bad.py", "test_register", "RuntimeError: the register is closed"),
]
JEST = [
    ("bad/auth-flow.test.js", f"Auth flow {MARK} redirects after login", 'Expected: "/dashboard"; Received: "dear"'),
    (
        "bad/auth-flow.test.js",
        f"Auth flow {MARK} calls logout",
        "Expected number of calls: 1; Received number of calls: 0",
    ),
    ("bad/dashboard.test.js", "shows stats", "Element not found"),
    ("bad/broken.test.js", "Test suite failed to run", "Cannot find module './nowhere'"),
]
GO = [
    ("example.org/shop/bad/bad_test.go", "TestTwice", "Twice(2) = 4, want 5"),
    ("example.org/shop/bad/bad_test.go", "TestTable/bad_one", "never good"),
]
NODE = [("nt/shop.test.js", "is cheap", "'dear' == 'cheap'")]

FAILURES = {
    "cargo-fail": [("tests/bad.rs", "one_is_two", "sums are sums")],
    "go-build-failed": [*GO, ("example.org/shop/broken", "example.org/shop/broken", "build failed")],
    "go-cover": GO,
    "go-fail": GO,
    "go-fail-json": GO,
    "go-fail-verbose": GO,
    "jest-colour": [JEST[2]],
    "jest-fail": JEST,
    "mocha-fail": [
        ("moc/bad.spec.js", "bad is cheap", "'dear' == 'cheap'"),
        ("/home/you/shop/moc/bad.spec.js", "bad times out", "Timeout of 50ms"),
    ],
    "node-test-fail": [("/home/you/shop/nt/shop.test.js", *NODE[0][1:])],
    "node-test-spec-fail": NODE,
    "pytest-collect": [("broken/test_broken.py", "broken/test_broken.py", "No module named 'nowhere_to_be_found'")],
    "pytest-fail": PYTEST,
    "pytest-fail-quiet": PYTEST,
    "pytest-xdist": PYTEST,
    "unittest-fail": [
        ("/home/you/shop/test_unit.py", "test_unit.BadTest.test_raises", "ValueError: a price is not negative"),
        ("/home/you/shop/test_unit.py", "test_unit.BadTest.test_label (price=200)", "'dear' != 'cheap'"),
    ],
    "vitest-fail": [
        ("t/bad.test.mjs", "labels > is cheap", "expected 'dear' to be 'cheap'"),
        ("t/bad.test.mjs", "labels > throws", "Error: a price is not negative"),
    ],
}

SUITES = {
    "cargo-fail": [("src/lib.rs", 1, 1), ("tests/bad.rs", 1, 2), ("tests/whole.rs", 1, 1), ("doc-tests shop", 1, 1)],
    "go-fail-verbose": [("example.org/shop/bad", 2, 4), ("example.org/shop/price", 3, 3)],
}


def output(name: str) -> str:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8")


def test_every_collected_output_is_expected():
    assert {path.stem for path in DATA.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_counts_time_and_coverage(name: str):
    facts = read_output(output(name))
    counts, seconds, coverage, unit = EXPECTED[name]
    if isinstance(coverage, tuple):
        coverage = dict(zip(("statements", "branches", "functions", "lines"), coverage, strict=True))
    assert (facts.passed, facts.failed, facts.skipped) == counts
    assert facts.seconds == pytest.approx(seconds, abs=0.6 if name.startswith("cargo") else 0.001)
    assert facts.coverage == coverage
    assert facts.unit == unit


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_failures_with_file_name_and_message(name: str):
    found = sorted(read_output(output(name)).failures, key=lambda one: (one.file, one.name))
    expected = sorted(FAILURES.get(name, []))
    assert [(one.file, one.name) for one in found] == [one[:2] for one in expected]
    for one, (_, _, words) in zip(found, expected, strict=True):
        assert words in one.message


@pytest.mark.parametrize("name", sorted(SUITES))
def test_suites(name: str):
    assert [(suite.name, suite.passed, suite.total) for suite in read_output(output(name)).suites] == SUITES[name]


def test_several_programs_in_one_command_are_added_up():
    facts = read_output(output("pytest-fail") + output("jest-fail") + output("cargo-fail"))
    assert (facts.passed, facts.failed, facts.skipped) == (11, 7, 4)
    assert len(facts.failures) == 8


def test_endless_failures_and_lines_are_bounded():
    lines = [f"FAILED tests/test_a.py::test_{n} - {'x' * 50}" for n in range(5_000)]
    facts = read_output("\n".join([*lines, "x" * 1_000_000, "5000 failed in 1.00s"]))
    assert facts.failed == 5_000
    assert len(facts.failures) == MOST_FAILURES


@pytest.mark.parametrize(
    "line",
    ["- " * 500_000, "thread '" * 100_000, "(" * 1_000_000, " " * 1_000_000, "1 a, " * 200_000, "at a(" * 200_000],
)
def test_no_output_keeps_the_reader_busy(line: str):
    began = time.process_time()
    read_output(f"2 passing (1s)\n  1) {line}\n{line}\n=== {line}\n--- FAIL: {line}\n    at {line}\n● {line}\n")
    assert time.process_time() - began < 2.0
