"""The output of jest, vitest, mocha and node's own test runner (spec and TAP)."""

from __future__ import annotations

import re

from haikud.agent.testing.facts import FailedTest, TestFacts, counted, distinct

_COUNT = re.compile(r"(\d{1,9}) (passed|failed|skipped|todo)")
_WORDS = {"passed": "passed", "failed": "failed", "skipped": "skipped", "todo": "skipped"}

_JEST_TESTS = re.compile(r"^Tests: +(.*\d+ total)$")
_JEST_TIME = re.compile(r"^Time: +(\d{1,9}(?:\.\d+)?) ?(ms|s|m)\b")
_JEST_FILE = re.compile(r"^ ?(?:FAIL|PASS) {1,3}(?:\S+ )?(\S+\.\w+)(?: \([\d.]+ m?s\))?$")
_JEST_BAD = re.compile(r"^  ● (\S.*)$")
_JEST_NO_TEST = ("Console", "Validation Error", "Validation Warning", "Deprecation Warning", "Cannot log after tests")

_VITEST_TESTS = re.compile(r"^ +Tests  (\d.*)\(\d+\)$")
_VITEST_TIME = re.compile(r"^ +Duration  (\d{1,9}(?:\.\d+)?)(ms|s|m)\b")
_VITEST_BAD = re.compile(r"^ ?FAIL  (?:\|[^|]*\| )?(\S+)(?: > (.+))?$")

_MOCHA_END = re.compile(r"^ +(\d{1,9}) (passing|pending|failing)(?: \((\d{1,9}(?:\.\d+)?)(ms|s|m)\))?$")
_MOCHA_BAD = re.compile(r"^  \d{1,6}\) (\S.*)$")
_STACK_FILE = re.compile(r"^\s+at .*?\(?((?:/|\w)[^():]*\.[cm]?[jt]sx?):\d+:\d+\)?$")
LONGEST_FRAME = 400
"""Characters of a stack's line that is looked at: the expression's time grows with their square."""

_FILE_AT_END = re.compile(r"\(([^()]+\.[cm]?[jt]sx?)\)$")

_NODE_COUNT = re.compile(r"^(?:ℹ|#) (tests|pass|fail|cancelled|skipped|todo|duration_ms) (\d{1,15}(?:\.\d+)?)$")  # noqa: RUF001 -- node's sign
_TAP_BAD = re.compile(r"^( *)not ok \d{1,9} - (.+)$")
_TAP_FIELD = re.compile(r"^ *(location|failureType|error): (.+)$")
_SPEC_WHERE = re.compile(r"^test at (\S.*?):\d+:\d+$")
_SPEC_BAD = re.compile(r"^✖ (.+?)(?: \([\d.]+ms\))?$")

_SCALE = {"ms": 0.001, "s": 1.0, "m": 60.0}


def read_jest(lines: list[str]) -> TestFacts:
    """`Tests: 3 failed, 1 skipped, 3 passed, 7 total`; a file that could not be run is a failure without a test."""
    counts: dict[str, int] = {}
    seconds: float | None = None
    file = ""
    failures = []
    for number, line in enumerate(lines):
        if end := _JEST_TESTS.match(line):
            _count(counts, end[1])
        elif took := _JEST_TIME.match(line):
            seconds = float(took[1]) * _SCALE[took[2]]
        elif begun := _JEST_FILE.match(line):
            file = begun[1]
        elif (bad := _JEST_BAD.match(line)) and file and not bad[1].startswith(_JEST_NO_TEST):
            failures.append(FailedTest(bad[1], file, _jest_message(lines[number + 1 : number + 30])))
    if not counts and seconds is None:
        return TestFacts()
    return counted(counts, seconds, distinct(failures))


def _jest_message(lines: list[str]) -> str:
    """The first line of what went wrong; of an expectation that was not met, what was expected and received."""
    block = [line.strip() for line in lines]
    end = next((n for n, line in enumerate(lines) if n and (line.startswith("  ● ") or " | " in line)), len(block))
    said = [line for line in block[:end] if line]
    if not said or not said[0].startswith("expect("):
        return said[0] if said else ""
    wanted = [line for line in said[1:] if line.startswith(("Expected", "Received"))]
    return "; ".join([said[0].partition(" // ")[0], *wanted])


def read_vitest(lines: list[str]) -> TestFacts:
    """`Tests  2 failed | 1 passed | 1 skipped (4)`."""
    counts: dict[str, int] = {}
    seconds: float | None = None
    failures = []
    for number, line in enumerate(lines):
        if end := _VITEST_TESTS.match(line):
            _count(counts, end[1])
        elif took := _VITEST_TIME.match(line):
            seconds = float(took[1]) * _SCALE[took[2]]
        elif bad := _VITEST_BAD.match(line):
            message = next((rest.strip() for rest in lines[number + 1 : number + 10] if rest.strip()), "")
            failures.append(FailedTest(bad[2] or bad[1], bad[1], message))
    if not counts:
        return TestFacts()
    return counted(counts, seconds, distinct(failures))


def read_mocha(lines: list[str]) -> TestFacts:
    """`2 passing (61ms)`, `1 pending`, `2 failing`, and the numbered blocks after them."""
    counts = {"passing": 0, "pending": 0, "failing": 0}
    seconds: float | None = None
    ended = False
    failures = []
    for number, line in enumerate(lines):
        if end := _MOCHA_END.match(line):
            counts[end[2]] += int(end[1])
            ended = True
            if end[3]:
                seconds = (seconds or 0.0) + float(end[3]) * _SCALE[end[4]]
        elif ended and (bad := _MOCHA_BAD.match(line)):
            failures.append(_mocha_failure(bad[1], lines[number + 1 : number + 60]))
    if not ended:
        return TestFacts()
    passed, skipped, failed = counts["passing"], counts["pending"], counts["failing"]
    return TestFacts(passed, failed, skipped, seconds=seconds, failures=distinct(failures))


def _mocha_failure(first: str, lines: list[str]) -> FailedTest:
    names = [first]
    rest = iter(lines)
    while not names[-1].endswith(":"):  # the test's own name ends in a colon, the describe blocks above it do not
        line = next(rest, ":")
        names.append(line.strip() or ":")
    file = message = ""
    for line in rest:
        if _MOCHA_BAD.match(line):
            break
        message = message or line.strip()
        found = _STACK_FILE.match(line) if len(line) <= LONGEST_FRAME else None
        if found and not file and "node_modules" not in line:
            file = found[1]
    if not file and (found := _FILE_AT_END.search(message)):
        file = found[1]
    return FailedTest(" ".join(names).removesuffix(":").strip(), file, message)


def read_node(lines: list[str]) -> TestFacts:
    """`node --test`, as TAP or as its spec."""
    numbers: dict[str, float] = {}
    failures = []
    where = ""
    in_summary = False
    for number, line in enumerate(lines):
        if end := _NODE_COUNT.match(line):
            numbers[end[1]] = numbers.get(end[1], 0) + float(end[2])
        elif bad := _TAP_BAD.match(line):
            failures += _tap_failure(bad[2], lines[number + 1 : number + 40])
        elif line == "✖ failing tests:":
            in_summary = True
        elif found := _SPEC_WHERE.match(line):
            where = found[1]
        elif in_summary and (failed := _SPEC_BAD.match(line)):
            message = lines[number + 1].strip() if number + 1 < len(lines) else ""
            failures.append(FailedTest(failed[1], where, message))
    if "pass" not in numbers or "fail" not in numbers:
        return TestFacts()
    return TestFacts(
        passed=int(numbers["pass"]),
        failed=int(numbers["fail"] + numbers.get("cancelled", 0)),
        skipped=int(numbers.get("skipped", 0) + numbers.get("todo", 0)),
        seconds=numbers["duration_ms"] / 1000 if "duration_ms" in numbers else None,
        failures=distinct(failures),
    )


def _tap_failure(name: str, lines: list[str]) -> list[FailedTest]:
    """The failure that a TAP block tells of; nothing for a suite that failed because of its tests."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.strip() == "..." or _TAP_BAD.match(line):
            break
        if field := _TAP_FIELD.match(line):
            text = field[2].strip()
            quoted = len(text) > 1 and text[0] in "'\"" and text[0] == text[-1]
            fields.setdefault(field[1], text[1:-1] if quoted else text)
    if fields.get("failureType") == "subtestsFailed":
        return []
    return [FailedTest(name, re.sub(r":\d+:\d+$", "", fields.get("location", "")), fields.get("error", ""))]


def _count(counts: dict[str, int], text: str) -> None:
    for number, word in _COUNT.findall(text):
        counts[_WORDS[word]] = counts.get(_WORDS[word], 0) + int(number)
