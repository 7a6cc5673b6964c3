"""JUnit XML, as pytest, jest-junit, vitest, mocha, node, Maven, Gradle and many others write it.

The file is untrusted. It is read by expat, which keeps no tree; a document type is refused, and with it every entity
but XML's own five, so that nothing can be expanded or fetched. (defusedxml does the same, but was last released in
2021.) Fails with BadReport.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from xml.parsers import expat

from haikud.agent.testing.facts import (
    MOST_FAILURES,
    MOST_MESSAGE,
    MOST_SUITES,
    FailedTest,
    Suite,
    TestFacts,
    counted,
    distinct,
)

DEEPEST = 50
MOST_BODY = 8_000
"""Characters of a failure's text that are looked at."""

_BAD = frozenset({"failure", "error"})
_PATH = re.compile(r"(?:^|[\s(\"'])((?:[\w.@-]+/|/)[\w./@-]*\.\w{1,5}|[\w-]+\.\w{1,5}):\d+", re.MULTILINE)


class BadReport(Exception):  # noqa: N818 -- reads as what it is
    """A report that cannot be used, and why."""


@dataclass
class _Suite:
    name: str
    file: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float | None = None


@dataclass
class _Case:
    name: str
    file: str
    verdict: str = "passed"
    message: str = ""
    body: list[str] = field(default_factory=list)
    size: int = 0


def read_junit(data: bytes) -> TestFacts | None:
    """What the report tells; None for XML of another kind. Raises BadReport for what is no plain XML."""
    reading = _Reading()
    try:
        reading.parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an encoding it states
        raise BadReport(f"no XML: {error}") from error
    return reading.facts() if reading.is_junit else None


class _Reading:
    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.is_junit = False
        self._depth = 0
        self._seconds: float | None = None
        self._suites: list[_Suite] = []  # that are open
        self._ended: list[_Suite] = []
        self._case: _Case | None = None
        self._in_failure = False
        self._failures: list[FailedTest] = []
        self._count = {"passed": 0, "failed": 0, "skipped": 0}

    def facts(self) -> TestFacts:
        """The whole report."""
        suites = [one for one in self._ended if one.passed + one.failed + one.skipped]
        shown = [Suite(one.name, one.passed, one.failed, one.skipped, one.seconds) for one in suites]
        times = [one.seconds for one in suites if one.seconds is not None]
        seconds = self._seconds if self._seconds is not None else (sum(times) if times else None)
        facts = counted(self._count, seconds, distinct(self._failures))
        return dataclasses.replace(facts, suites=tuple(shown[:MOST_SUITES]) if len(shown) > 1 else ())

    def _refuse(self, *_: object) -> None:
        raise BadReport("it has a document type (DTD), which haikud does not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadReport(f"elements more than {DEEPEST} deep")
        if self._depth == 1:
            self.is_junit = tag in {"testsuites", "testsuite"}
        if tag == "testsuites":
            self._seconds = _seconds(attributes.get("time"))
        elif tag == "testsuite":
            of_outer = self._suites[-1].file if self._suites else ""
            file = attributes.get("file") or attributes.get("filepath") or of_outer
            seconds = _seconds(attributes.get("time"))
            self._suites.append(_Suite(attributes.get("name", ""), file, seconds=seconds))
        elif tag == "testcase":
            file = attributes.get("file") or (self._suites[-1].file if self._suites else "")
            self._case = _Case(_name(attributes), file or attributes.get("classname", ""))
        elif self._case is not None and tag in _BAD:
            self._case.verdict = "failed"
            self._case.message = self._case.message or attributes.get("message", "")
            self._in_failure = True
        elif self._case is not None and tag == "skipped" and self._case.verdict == "passed":
            self._case.verdict = "skipped"

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag in _BAD:
            self._in_failure = False
        elif tag == "testcase" and self._case is not None:
            self._end_case(self._case)
            self._case = None
        elif tag == "testsuite" and self._suites:
            self._ended.append(self._suites.pop())

    def _end_case(self, case: _Case) -> None:
        self._count[case.verdict] += 1
        if self._suites:
            suite = self._suites[-1]
            setattr(suite, case.verdict, getattr(suite, case.verdict) + 1)
        if case.verdict != "failed" or len(self._failures) >= MOST_FAILURES:
            return
        body = "".join(case.body)
        file = case.file
        if "/" not in file and (found := _own_path(body)):
            file = found
        self._failures.append(FailedTest(case.name, file, _message(case.message, body)))

    def _text(self, text: str) -> None:
        if self._in_failure and self._case is not None and self._case.size < MOST_BODY:
            self._case.body.append(text[:MOST_BODY])
            self._case.size += len(text)


def _name(attributes: dict[str, str]) -> str:
    return attributes.get("name", "").strip() or attributes.get("classname", "").strip() or "a test without a name"


def _message(attribute: str, body: str) -> str:
    """The message, else the first lines of the text: where nothing was met, what was expected and received."""
    if attribute.strip():
        return attribute.strip()[: 2 * MOST_MESSAGE]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    wanted = [line for line in lines[1:20] if line.startswith(("Expected", "Received"))]
    return "; ".join([*lines[:1], *wanted])


def _own_path(body: str) -> str:
    """The first path with a line number in a failure's text that is no library's."""
    for found in _PATH.finditer(body):
        if "node_modules" not in found[1] and "site-packages" not in found[1]:
            return found[1]
    return ""


def _seconds(text: str | None) -> float | None:
    """`1,234.5` is a number for some programs."""
    try:
        seconds = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
