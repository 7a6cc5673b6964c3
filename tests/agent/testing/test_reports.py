"""Report files: the real ones, and those that somebody made to harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.testing.coverage_files import read_coverage_file
from haikud.agent.testing.facts import TestFacts
from haikud.agent.testing.gather import gather_facts
from haikud.agent.testing.junit import BadReport, read_junit
from haikud.agent.testing.reports import LARGEST_REPORT, ReportWatch

DATA = Path(__file__).resolve().parents[2] / "data" / "test_outputs"

JUNIT = {
    "pytest-fail.xml": (
        (4, 3, 2),
        0.271,
        [
            ("tests/test_bad.py", "test_discount", "ten percent"),
            ("tests/test_bad.py", "test_register", "RuntimeError"),
            ("tests/test_bad.py", "test_long_label", "however wide the terminal may be set"),
        ],
    ),
    "pytest-pass.xml": ((4, 0, 2), 0.678, []),
    "jest-fail.xml": (
        (3, 3, 1),
        1.874,
        [
            ("/home/you/shop/bad/auth-flow.test.js", "Auth flow redirects after login", 'Received: "dear"'),
            ("/home/you/shop/bad/auth-flow.test.js", "Auth flow calls logout", "Expected number of calls: 1"),
            ("/home/you/shop/bad/dashboard.test.js", "shows stats", "Element not found"),
        ],
    ),
    "vitest-fail.xml": (
        (1, 2, 1),
        1.891,
        [
            ("t/bad.test.mjs", "labels > is cheap", "'dear'"),
            ("t/bad.test.mjs", "labels > throws", "a price is not negative"),
        ],
    ),
    "node-test-fail.xml": ((1, 1, 1), 0.003, [("/home/you/shop/nt/shop.test.js", "is cheap", "'dear' == 'cheap'")]),
}


@pytest.mark.parametrize("name", sorted(JUNIT))
def test_junit_xml_of_real_programs(name: str):
    facts = read_junit((DATA / name).read_bytes())
    counts, seconds, failures = JUNIT[name]
    assert facts is not None
    assert (facts.passed, facts.failed, facts.skipped) == counts
    assert facts.seconds == pytest.approx(seconds, abs=0.001)
    assert [(one.file, one.name) for one in facts.failures] == [one[:2] for one in failures]
    for one, (_, _, words) in zip(facts.failures, failures, strict=True):
        assert words in one.message


def test_suites_of_a_report_are_counted_by_their_tests():
    facts = read_junit((DATA / "vitest-fail.xml").read_bytes())
    assert facts is not None
    shown = [suite.shown() for suite in facts.suites]
    assert [(one["name"], one["passed"], one["total"], one["seconds"]) for one in shown] == [
        ("t/bad.test.mjs", 0, 2, 0.008),
        ("t/shop.test.mjs", 1, 1, 0.003),
    ]


@pytest.mark.parametrize(
    ("name", "coverage"),
    [
        ("coverage-summary.json", {"statements": 58.33, "branches": 57.14, "functions": 60.0, "lines": 85.71}),
        ("cobertura-coverage.xml", {"lines": 85.71, "branches": 57.14}),
        ("clover.xml", {"statements": 85.71, "branches": 57.14, "functions": 60.0}),
        ("lcov.info", {"lines": 85.71, "branches": 57.14, "functions": 60.0}),
        ("coverage-py.json", {"statements": 83.33, "lines": 83.33, "branches": 83.33}),
        ("coverage-py.xml", {"lines": 83.33, "branches": 83.33}),
        ("pytest-pass.xml", {}),
    ],
)
def test_coverage_files_of_real_programs(name: str, coverage: dict[str, float]):
    assert read_coverage_file(name, (DATA / name).read_bytes()) == coverage


BOMB = b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
FETCH = b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"


@pytest.mark.parametrize(
    "data",
    [
        BOMB + b"<testsuite><testcase name='&b;'/></testsuite>",
        FETCH + b"<testsuite><testcase name='x'><failure>&a;</failure></testcase></testsuite>",
        b"<testsuite>" * 100,
        b"<testsuite><testcase",
        b"<?xml version='1.0' encoding='rot13'?><testsuite/>",
        b"<?xml version='1.0' encoding='utf-7'?><testsuite/>",
        b"\x00\x01",
        b"",
    ],
)
def test_a_report_that_is_no_plain_xml_is_refused(data: bytes):
    with pytest.raises(BadReport):
        read_junit(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("coverage.xml", BOMB + b"<coverage line-rate='0.5'/>"),
        ("coverage.xml", b"<?xml version='1.0' encoding='rot13'?><coverage/>"),
        ("coverage.json", b"[" * 100_000),
        ("coverage.json", b"{"),
    ],
)
def test_a_coverage_file_that_is_broken_is_refused(name: str, data: bytes):
    with pytest.raises(BadReport):
        read_coverage_file(name, data)


def test_odd_numbers_in_a_coverage_file_are_left_out():
    odd = b'{"total": {"lines": {"pct": "Unknown"}, "branches": {"pct": 1e999}, "functions": {"pct": 70}, "x": 1}}'
    assert read_coverage_file("coverage-summary.json", odd) == {"functions": 70.0}
    assert read_coverage_file("a.json", b'{"totals": {"covered_lines": true, "num_statements": 0}}') == {}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_only_what_the_run_wrote_counts(tmp_path: Path):
    passed, failed = ((DATA / f"pytest-{name}.xml").read_bytes() for name in ("pass", "fail"))
    write(tmp_path / "junit.xml", failed)
    write(tmp_path / "pom.xml", b"<project/>")
    watch = ReportWatch(tmp_path)
    assert watch.read().facts.is_empty
    write(tmp_path / "reports/junit.xml", passed)
    write(tmp_path / "coverage/coverage-summary.json", (DATA / "coverage-summary.json").read_bytes())
    write(tmp_path / "playwright-report/index.html", b"<html>")
    write(tmp_path / "index.html", b"the project's own")
    found = watch.read()
    assert (found.facts.passed, found.facts.failed) == (4, 0)
    assert found.coverage["functions"] == 60.0
    assert found.files == ["reports/junit.xml", "playwright-report/index.html"]
    assert found.warnings == []


def test_named_reports_are_found_wherever_they_are(tmp_path: Path):
    (tmp_path / "out").mkdir()
    watch = ReportWatch(tmp_path, ["out/deep/shop-*.xml", str(tmp_path / "out/one.xml"), "out/all", "never.xml"])
    for place in ("out/deep/shop-1.xml", "out/one.xml", "out/all/a.xml", "out/other.xml"):
        write(tmp_path / place, (DATA / "pytest-fail.xml").read_bytes())
    found = watch.read()
    assert found.files == ["out/all/a.xml", "out/deep/shop-1.xml", "out/one.xml"]
    assert found.facts.failed == 9
    assert found.warnings == ["the test report never.xml was not written by this run"]
    for outside in ("../x.xml", "/etc/passwd", "a/../../b.xml"):
        with pytest.raises(BadInput):
            ReportWatch(tmp_path, [outside])


def test_nothing_outside_is_read_and_nothing_blocks(tmp_path: Path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    write(outside / "junit.xml", (DATA / "pytest-fail.xml").read_bytes())
    inside.mkdir()
    watch = ReportWatch(inside)
    (inside / "reports").symlink_to(outside)
    (inside / "junit.xml").symlink_to(outside / "junit.xml")
    os.mkfifo(inside / "results.xml")
    (inside / "test-results.xml").mkdir()
    write(inside / "report.xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>")
    write(inside / "large-tests.xml", b" " * (LARGEST_REPORT + 1))
    found = watch.read()
    assert found.facts.is_empty
    assert found.files == []
    assert sorted(warning.partition(" was ")[0] for warning in found.warnings) == [
        "the report large-tests.xml",
        "the report report.xml",
    ]


def test_report_and_output_complete_each_other(tmp_path: Path):
    watch = ReportWatch(tmp_path)
    output = (DATA / "jest-fail.txt").read_text().replace("/home/you/shop", str(tmp_path))
    write(tmp_path / "junit.xml", (DATA / "pytest-fail.xml").read_bytes().replace(b"/home/you/shop", b""))
    facts = gather_facts(tmp_path, (DATA / "pytest-fail.txt").read_text(), watch.read())
    assert (facts.passed, facts.failed, facts.skipped) == (4, 3, 2)
    assert "however wide" in str(facts.failures)  # the report's words are whole
    several = gather_facts(tmp_path, (DATA / "pytest-fail.txt").read_text() + output, watch.read())
    assert (several.passed, several.failed) == (7, 6)  # the report is of one program of two
    nothing = gather_facts(tmp_path, "", ReportWatch(tmp_path).read())
    assert nothing == TestFacts()
