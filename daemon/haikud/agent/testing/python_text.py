"""The output of pytest and of unittest."""

from __future__ import annotations

import re

from haikud.agent.testing.facts import FailedTest, TestFacts, counted, distinct

_PYTEST_END = re.compile(r"^(?:=+ )?((?:no tests ran|\d{1,9} [a-z]+)(?:, \d{1,9} [a-z]+){0,9}) in (\d{1,9}\.\d+)s\b")
_PYTEST_COUNT = re.compile(r"(\d+) ([a-z]+)")
_PYTEST_FAILED = re.compile(r"^(FAILED|ERROR) (\S.*)$")
_PYTEST_COLLECTING = re.compile(r"^_+ ERROR collecting (\S+) _+$")
_PYTEST_WORDS = {
    "passed": "passed",
    "xpassed": "passed",
    "failed": "failed",
    "error": "failed",
    "errors": "failed",
    "skipped": "skipped",
    "xfailed": "skipped",
}

_RAN = re.compile(r"^Ran (\d{1,9}) tests? in (\d{1,9}\.\d+)s$")
_VERDICT = re.compile(r"^(?:OK|FAILED)(?: \(([^)]*)\))?$")
_DETAIL = re.compile(r"([a-z ]{1,40})=(\d{1,9})\b")
_BAD = re.compile(r"^(?:FAIL|ERROR): (\S+) \(([^)]*)\)(.*)$")
_FRAME = re.compile(r'^  File "([^"]+)", line \d+, in ')


def read_pytest(lines: list[str]) -> TestFacts:
    """The closing line and the short summary. An error while collecting is a failure without a test."""
    counts: dict[str, int] = {}
    seconds: float | None = None
    failures = []
    collecting = ""
    reasons: dict[str, str] = {}
    for line in lines:
        if begun := _PYTEST_COLLECTING.match(line):
            collecting = begun[1]
        elif collecting and line.startswith("E   "):
            reasons.setdefault(collecting, line[4:].strip())
            collecting = ""
        elif end := _PYTEST_END.match(line):
            seconds = (seconds or 0.0) + float(end[2])
            for number, word in _PYTEST_COUNT.findall(end[1]):
                if name := _PYTEST_WORDS.get(word):
                    counts[name] = counts.get(name, 0) + int(number)
        elif bad := _PYTEST_FAILED.match(line):
            where, _, message = bad[2].partition(" - ")
            file, _, name = where.strip().partition("::")
            if "." in file:  # `FAILED (errors=1)` is unittest's
                failures.append(FailedTest(name or file, file, message.strip() or reasons.get(file, "")))
    if seconds is None:
        return TestFacts()
    return counted(counts, seconds, distinct(failures))


def read_unittest(lines: list[str]) -> TestFacts:
    """`Ran N tests in S` with the verdict after it, and the blocks of the failures."""
    ran = failed = skipped = 0
    seconds: float | None = None
    for number, line in enumerate(lines):
        if not (end := _RAN.match(line)):
            continue
        seconds = (seconds or 0.0) + float(end[2])
        verdict = next((found for rest in lines[number + 1 : number + 4] if (found := _VERDICT.match(rest))), None)
        details = {name.strip(): int(n) for name, n in _DETAIL.findall((verdict and verdict[1]) or "")}
        ran += int(end[1])
        failed += sum(details.get(name, 0) for name in ("failures", "errors", "unexpected successes"))
        skipped += details.get("skipped", 0) + details.get("expected failures", 0)
    if seconds is None:
        return TestFacts()
    passed = max(ran - failed - skipped, 0)
    return TestFacts(passed, failed, skipped, seconds=seconds, failures=distinct(_unittest_failures(lines)))


def _unittest_failures(lines: list[str]) -> list[FailedTest]:
    failures = []
    for number, line in enumerate(lines):
        if not (bad := _BAD.match(line)):
            continue
        file = message = ""
        for rest in lines[number + 1 : number + 200]:
            if rest.startswith(("======", "Ran ")) or _BAD.match(rest):
                break
            if frame := _FRAME.match(rest):
                file, message = file or frame[1], ""  # the test's own frame is the first
            elif file and not message and rest and not rest.startswith((" ", "-----")):
                message = rest
        name = bad[2] if bad[2].endswith(f".{bad[1]}") else f"{bad[2]}.{bad[1]}"
        failures.append(FailedTest(name + bad[3].rstrip(), file, message))
    return failures
