"""The output of `go test` (plain, -v, -json) and of `cargo test`."""

from __future__ import annotations

import json
import re

from haikud.agent.testing.facts import MOST_SUITES, FailedTest, Suite, TestFacts, distinct

_GO_TEST = re.compile(r"^( *)--- (PASS|FAIL|SKIP): (\S+) \(")
_GO_RUN = re.compile(r"^=== (?:RUN|CONT) +(\S+)")
_GO_PACKAGE = re.compile(r"^(ok|FAIL)[ \t]+([^\s\[]+)[ \t]+(?:(\d{1,9}\.\d+)s|\(cached\)|(\[.+\]))")
_GO_MESSAGE = re.compile(r"^ +(\S+_test\.go):\d+: (.*)$")

_CARGO_END = re.compile(
    r"^test result: (?:ok|FAILED)\. (\d{1,9}) passed; (\d{1,9}) failed; (\d{1,9}) ignored;.*?"
    r"(?:finished in (\d{1,9}\.\d+)s)?$"
)
_CARGO_BEGIN = re.compile(r"^ +(?:Running (?:unittests )?(\S+)(?: \(.*\))?|Doc-tests (\S+))$")
_CARGO_BAD = re.compile(r"^---- (.+) stdout ----$")
_CARGO_PANIC = re.compile(r"^thread '.*' (?:\(\d+\) )?panicked at (?:'(.*)', )?(\S+?):\d+:\d+:?$")


class _GoReading:
    """What was read of go's output so far. With -v a test's words come before its verdict, else after it."""

    def __init__(self) -> None:
        self.tests: dict[tuple[int, str], str] = {}  # (number of the package, name) -> verdict
        self.packages: list[Suite] = []
        self.failures: list[FailedTest] = []
        self._words: dict[str, tuple[str, str]] = {}
        self._running = ""
        self._waiting = False  # the last failure's words may follow
        self._first = 0  # failure of this package

    def take(self, line: str) -> None:
        """One line more."""
        if said := _GO_MESSAGE.match(line):
            if self._waiting:
                self.failures[-1] = FailedTest(self.failures[-1].name, said[1], said[2])
                self._waiting = False
            elif self._running:
                self._words.setdefault(self._running, (said[1], said[2]))
        elif test := _GO_TEST.match(line):
            self.tests[len(self.packages), test[3]] = test[2]
            if test[2] == "FAIL":
                self.failures.append(FailedTest(test[3], *self._words.get(test[3], ())))
                self._waiting = test[3] not in self._words
        elif run := _GO_RUN.match(line):
            self._running, self._waiting = run[1], False
        elif package := _GO_PACKAGE.match(line):
            self._end_package(package)

    def _end_package(self, found: re.Match[str]) -> None:
        name, seconds, note = found[2], float(found[3]) if found[3] else None, found[4]
        self.failures[self._first :] = [_in_package(one, name) for one in self.failures[self._first :]]
        if found[1] == "FAIL" and note:  # [build failed], [setup failed]
            self.failures.append(FailedTest(name, name, note.strip("[]")))
        at = len(self.packages)
        verdicts = [verdict for (number, _), verdict in _leaves(self.tests).items() if number == at]
        bad = verdicts.count("FAIL") or int(found[1] == "FAIL")
        if not (note and "no test" in note):
            self.packages.append(Suite(name, verdicts.count("PASS"), bad, verdicts.count("SKIP"), seconds))
        self._first = len(self.failures)
        self._words.clear()
        self._running, self._waiting = "", False


def read_go(lines: list[str]) -> TestFacts:
    """Tests where they are listed (-v, -json), else packages: go does not say how many tests passed."""
    reading = _GoReading()
    for line in _from_json(lines):
        reading.take(line)
    packages = reading.packages
    if not packages:
        return TestFacts()
    leaves = _leaves(reading.tests)
    broken = [one for one in reading.failures if one.name == one.file]
    failed = {name for (_, name), verdict in leaves.items() if verdict == "FAIL"}
    failures = distinct(one for one in reading.failures if one in broken or one.name in failed)
    times = [one.seconds for one in packages if one.seconds is not None]
    seconds = sum(times) if times else None
    verdicts = list(leaves.values())
    if set(verdicts) <= {"FAIL"}:
        bad = sum(1 for one in packages if one.failed)
        return TestFacts(len(packages) - bad, bad, failures=failures, seconds=seconds, unit="packages")
    return TestFacts(
        passed=verdicts.count("PASS"),
        failed=verdicts.count("FAIL") + len(broken),
        skipped=verdicts.count("SKIP"),
        suites=tuple(packages[:MOST_SUITES]) if len(packages) > 1 else (),
        failures=failures,
        seconds=seconds,
    )


def _leaves(tests: dict[tuple[int, str], str]) -> dict[tuple[int, str], str]:
    """Tests without those that only hold subtests."""
    parents = set()
    for at, name in tests:
        outer, slash, _ = name.rpartition("/")
        while slash:
            parents.add((at, outer))
            outer, slash, _ = outer.rpartition("/")
    return {key: verdict for key, verdict in tests.items() if key not in parents}


def _in_package(failure: FailedTest, package: str) -> FailedTest:
    """`bad_test.go` in its package, whose path is all that go tells of the folder."""
    return FailedTest(failure.name, f"{package}/{failure.file}" if failure.file else package, failure.message)


def _from_json(lines: list[str]) -> list[str]:
    """The text that `go test -json` wraps, package by package; other output as it is."""
    texts: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("{") or '"Action":"output"' not in line:
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("Output"), str):
            texts.setdefault(str(event.get("Package")), []).append(event["Output"])
    if not texts:
        return lines
    return [line for parts in texts.values() for line in "".join(parts).splitlines()]


def read_cargo(lines: list[str]) -> TestFacts:
    """One `test result:` for each binary, and the blocks of what panicked."""
    name = ""
    suites: list[Suite] = []
    failures = []
    for number, line in enumerate(lines):
        if begun := _CARGO_BEGIN.match(line):
            name = begun[1] or f"doc-tests {begun[2]}"
        elif end := _CARGO_END.match(line):
            passed, failed, ignored = (int(end[n]) for n in (1, 2, 3))
            suites.append(Suite(name, passed, failed, ignored, float(end[4]) if end[4] else None))
        elif bad := _CARGO_BAD.match(line):
            failures.append(_cargo_failure(bad[1], lines[number + 1 : number + 60]))
    seconds = [suite.seconds for suite in suites if suite.seconds is not None]
    return TestFacts(
        passed=sum(suite.passed for suite in suites),
        failed=sum(suite.failed for suite in suites),
        skipped=sum(suite.skipped for suite in suites),
        suites=tuple(suite for suite in suites if suite.total)[:MOST_SUITES],
        failures=distinct(failures),
        seconds=sum(seconds) if seconds else None,
    )


def _cargo_failure(name: str, lines: list[str]) -> FailedTest:
    for number, line in enumerate(lines):
        if line.startswith("---- "):
            break
        if panic := _CARGO_PANIC.match(line):
            message = panic[1] or (lines[number + 1].strip() if number + 1 < len(lines) else "")
            return FailedTest(name, panic[2], message)
    return FailedTest(name)
