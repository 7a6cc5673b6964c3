"""Why a program failed, from its exit code and the end of what it printed: the guide's "Error Classification".

Pure. Recoverable are network faults, file locks, failed dependency installs and what says so itself (EX_TEMPFAIL);
syntax errors, missing files, failing tests and merge conflicts are not. Of several lines that say something the last
one decides: what a program says last is what it gave up at. What is not recognised is `None`: the caller knows what
it was doing. A failing test is never taken for a fault of the network, whatever its output says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from haikud.agent.reports.signs import COLLECTION, ON_THIS_MACHINE, SIGNS, Cause
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType

EX_TEMPFAIL = 75
NOT_EXECUTABLE = 126
NOT_FOUND = 127

_MOST_LINES = 60
"""Lines from the end that are looked at; what was said before has been overcome."""

_LONGEST_LINE = 1_000
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PIP_GAVE_UP = re.compile(r"^(?:WARNING: )?Retrying \(Retry\(total=0\b", re.MULTILINE)


class Doing(StrEnum):
    """What was being done."""

    SETUP = "setup"  # a setup command: mostly installing dependencies
    AGENT = "agent"  # a role's own command
    GIT = "git"  # git, ours
    TESTS = "tests"  # TEST_COMMAND


@dataclass(frozen=True)
class Classified:
    """What a failure is."""

    failure_class: FailureClass
    code: str  # a constant for reports
    type: ErrorType
    said: str = ""  # the line that says so


_MEANING: dict[Cause, tuple[FailureClass, str]] = {
    Cause.NETWORK: (FailureClass.NETWORK, "NETWORK_ERROR"),
    Cause.FILE_LOCK: (FailureClass.FILE_LOCK, "FILE_LOCKED"),
    Cause.DEPENDENCY: (FailureClass.DEPENDENCY_INSTALL, "DEPENDENCY_INSTALL"),
    Cause.ACCESS: (FailureClass.PERMANENT, "ACCESS_DENIED"),
    Cause.CONFLICT: (FailureClass.MERGE_CONFLICT, "MERGE_CONFLICT"),
    Cause.SYNTAX: (FailureClass.SYNTAX_ERROR, "SYNTAX_ERROR"),
    Cause.MISSING: (FailureClass.MISSING_FILE, "MISSING_FILE"),
    Cause.TESTS: (FailureClass.TEST_FAILURE, "TEST_FAILURE"),
}

_ASKED: dict[Doing, tuple[Cause, ...]] = {
    Doing.SETUP: tuple(cause for cause in Cause if cause is not Cause.TESTS),
    Doing.AGENT: tuple(Cause),
    Doing.GIT: (Cause.ACCESS, Cause.NETWORK, Cause.FILE_LOCK, Cause.CONFLICT),
    Doing.TESTS: (Cause.SYNTAX, Cause.MISSING),
}
"""Which causes are looked for: a test command's failure is never one that passes by itself."""

_TYPES: dict[Doing, ErrorType] = {
    Doing.SETUP: ErrorType.DEPENDENCY_ERROR,
    Doing.AGENT: ErrorType.AGENT_ERROR,
    Doing.GIT: ErrorType.GIT_ERROR,
    Doing.TESTS: ErrorType.BUILD_ERROR,
}


def classify(exit_code: int | None, output_tail: str, doing: Doing) -> Classified | None:
    """What the failure is; None where nothing is known about it.

    `exit_code`: None where it was ended at a limit, negative where a signal ended it: both say nothing about the cause.
    """
    if exit_code is None or exit_code <= 0:
        return None
    if exit_code == EX_TEMPFAIL and doing in {Doing.SETUP, Doing.AGENT}:
        return Classified(FailureClass.TEMPORARY, f"{doing.upper()}_TEMPFAIL", _TYPES[doing])
    text = _ESCAPES.sub("", output_tail)
    if exit_code in {NOT_FOUND, NOT_EXECUTABLE} and doing is not Doing.GIT:
        code = "COMMAND_NOT_FOUND" if exit_code == NOT_FOUND else "NOT_EXECUTABLE"
        return Classified(FailureClass.MISSING_FILE, code, _TYPES[doing], _last_line(text))
    if doing is Doing.TESTS and not COLLECTION.search(text):
        return None
    cause, said = _find_cause(text, _ASKED[doing])
    if cause is None:
        return None
    if cause is Cause.DEPENDENCY and _PIP_GAVE_UP.search(text):
        cause = Cause.NETWORK  # pip calls a package unknown whose index it could not reach
    failure_class, code = _MEANING[cause]
    return Classified(failure_class, code, _type(cause, doing), said)


def _find_cause(text: str, asked: tuple[Cause, ...]) -> tuple[Cause | None, str]:
    """The cause that the last telling line names, and that line."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines[-_MOST_LINES:]):
        short = line[:_LONGEST_LINE].rstrip()
        for cause in asked:
            if cause is Cause.NETWORK and ON_THIS_MACHINE.search(short):
                continue
            if SIGNS[cause].search(short):
                return cause, short.strip()[:300]
    return None, ""


def _type(cause: Cause, doing: Doing) -> ErrorType:
    if cause is Cause.CONFLICT:
        return ErrorType.GIT_ERROR
    if doing is Doing.GIT:
        return _TYPES[doing]
    if cause is Cause.TESTS:
        return ErrorType.TEST_FAILURE
    if cause is Cause.SYNTAX:
        return ErrorType.BUILD_ERROR
    if cause is Cause.DEPENDENCY:
        return ErrorType.DEPENDENCY_ERROR
    return _TYPES[doing]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
