"""Rejections: every fault of a request, and the answer that tells its sender how to mend it.

A rejection is bad input, never an error of ours: `Rejected` always carries at least one fault, each with a JSON
Pointer into the document as dropped, what was found there, what was expected, and the nearest fix. It always carries
an id under which the answer can be published, even where the request could not be read at all.
"""

from __future__ import annotations

import platform
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import haikud
from haikud.contracts.base import JsonObject
from haikud.contracts.envelope import MessageType, Metrics, Response, Status
from haikud.contracts.error_report import (
    ErrorContext,
    ErrorDetail,
    ErrorReport,
    ErrorType,
    FieldFault,
    NextSteps,
    Severity,
)
from haikud.contracts.plan import RequestShape

LONGEST_TEXT = 2_000
"""Characters of each part of a fault; the rest is cut off."""

MOST_FAULTS = 100
"""A rejection lists so many faults; the last one then says how many there are beyond."""


class FaultCode(StrEnum):
    """What is wrong, as a constant for programs."""

    UNREADABLE = "UNREADABLE"  # the drop folder could not read it: not a regular file, ...
    SENDER_NOT_ALLOWED = "SENDER_NOT_ALLOWED"  # who dropped it may not, or that cannot be told
    EMPTY = "EMPTY"  # no bytes, only NUL bytes, or no document
    TOO_LARGE = "TOO_LARGE"
    BAD_NAME = "BAD_NAME"  # the file is neither .json nor .yaml nor .yml
    BAD_ENCODING = "BAD_ENCODING"  # not UTF-8
    BINARY = "BINARY"
    BAD_TEXT = "BAD_TEXT"  # a string that cannot be stored: NUL, half a surrogate pair, control characters
    INVALID_JSON = "INVALID_JSON"
    INVALID_YAML = "INVALID_YAML"
    FORBIDDEN_YAML = "FORBIDDEN_YAML"  # tags, anchors, aliases, several documents
    TOO_DEEP = "TOO_DEEP"
    TOO_MANY_NODES = "TOO_MANY_NODES"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    BAD_KEY = "BAD_KEY"  # a YAML key that is no string
    BAD_NUMBER = "BAD_NUMBER"  # NaN, Infinity, or longer than can be stored
    UNKNOWN_SHAPE = "UNKNOWN_SHAPE"
    AMBIGUOUS_SHAPE = "AMBIGUOUS_SHAPE"
    NOT_A_REQUEST = "NOT_A_REQUEST"  # an answer or an escalation, dropped into incoming/
    WRONG_TYPE = "WRONG_TYPE"
    MISSING = "MISSING"
    BAD_VALUE = "BAD_VALUE"
    BAD_ID = "BAD_ID"
    ID_USED = "ID_USED"
    DUPLICATE_ID = "DUPLICATE_ID"
    TOO_MANY_TASKS = "TOO_MANY_TASKS"
    UNKNOWN_DEPENDENCY = "UNKNOWN_DEPENDENCY"
    SELF_DEPENDENCY = "SELF_DEPENDENCY"
    CYCLE = "CYCLE"
    BAD_PATH = "BAD_PATH"
    NO_REPOSITORY = "NO_REPOSITORY"  # none is named and none is the default
    BAD_REPOSITORY = "BAD_REPOSITORY"  # it does not exist, is no git repository, has no commit
    REPOSITORY_NOT_ALLOWED = "REPOSITORY_NOT_ALLOWED"  # not one of the settings' `repositories`
    BRANCH_TAKEN = "BRANCH_TAKEN"  # a task's branch or worktree is another's
    OTHER_REPOSITORY = "OTHER_REPOSITORY"  # a dependency on a task in another one
    UNKNOWN_ROLE = "UNKNOWN_ROLE"
    UNKNOWN_OPERATION = "UNKNOWN_OPERATION"
    UNKNOWN_TEMPLATE = "UNKNOWN_TEMPLATE"
    BAD_TEMPLATE = "BAD_TEMPLATE"
    BAD_VARIABLES = "BAD_VARIABLES"
    BAD_REFERENCE = "BAD_REFERENCE"  # `{{ tasks.` that is no whole reference, or too many of them
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"  # to a task that this one does not depend on, or to no field
    MISPLACED_REFERENCE = "MISPLACED_REFERENCE"  # where none may stand, such as in a command


def make_fault(code: FaultCode, field: str, *, found: str, expected: str, fix: str) -> FieldFault:
    """One fault. `field` is a JSON Pointer, "" the whole document. What cannot be stored or printed is escaped."""
    texts = {"field": field, "found": found, "expected": expected, "fix": fix}
    return FieldFault(code=code, **{name: printable(_cut(text)) for name, text in texts.items()})


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} [...]"


def printable(text: str) -> str:
    """Text that can be stored and shown: control characters and halves of surrogate pairs are escaped."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in text)


class Rejected(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """A request that cannot be admitted, with all its faults."""

    def __init__(
        self,
        faults: Sequence[FieldFault],
        *,
        plan_id: str,
        name: str,
        left_out: int = 0,
        states_id: bool = False,
        shape: RequestShape | None = None,
        sender: str | None = None,
        correlation_id: str | None = None,
    ) -> None:
        if not faults:
            msg = "a rejection needs a fault"
            raise ValueError(msg)
        self.faults: list[FieldFault] = list(faults[:MOST_FAULTS])
        self.left_out = left_out + max(len(faults) - MOST_FAULTS, 0)  # faults beyond those
        self.plan_id = plan_id  # a usable id: the stated one, else one from the file's stem
        self.states_id = states_id  # whether the request itself states plan_id
        self.name = printable(name)  # of the file as dropped; no UTF-8 in it is escaped
        self.shape = shape
        self.sender = sender
        self.correlation_id = correlation_id
        super().__init__(self.reason)

    @property
    def code(self) -> str:
        """The first fault's constant."""
        return self.faults[0].code

    @property
    def reason(self) -> str:
        """One line for people: the first fault, and how many more there are."""
        text = describe_fault(self.faults[0])
        more = len(self.faults) - 1 + self.left_out
        return f"{text} (and {more} more)" if more else text


def describe_fault(fault: FieldFault) -> str:
    """One fault as a line for people."""
    return f"{fault.field or 'the document'}: found {fault.found}; expected {fault.expected}; fix: {fault.fix}"


def id_already_used(plan_id: str, name: str, *, sender: str | None = None, same: bool = False) -> Rejected:
    """The rejection of content under an id that is used already. `same`: by this very request, which is pruned."""
    earlier = "an earlier request with other content has used"
    whose = "this very request has used; its plan is finished and pruned" if same else earlier
    fault = make_fault(
        FaultCode.ID_USED,
        "",
        found=f"the id {plan_id!r}, which {whose} (id already used)",
        expected="an id that no request has used before; an id stays used, even after its plan is pruned",
        fix="choose another id and drop the request again; `haikud retry ID` runs a failed task once more",
    )
    return Rejected([fault], plan_id=plan_id, name=name, states_id=True, sender=sender)


def rejected_response(rejected: Rejected, *, now: datetime) -> Response:
    """The answer: status `rejected`, the guide's error report with every fault under `payload.error_report`."""
    plan_id = rejected.plan_id
    report = _report(rejected, now).model_dump(mode="json")
    payload: JsonObject = {"error_report": report}
    kind = MessageType.TASK_COMPLETION
    if rejected.shape is RequestShape.TASK_PLAN:
        kind = MessageType.PLAN_COMPLETION
        payload = {"plan_id": plan_id, "tasks": [], **payload}
    elif rejected.shape is RequestShape.AGENT_REQUEST:
        payload = {"success": False, **payload}
    return Response(
        timestamp=now,
        sender="haikud",
        receiver=rejected.sender or "main-agent",
        message_type=kind,
        correlation_id=rejected.correlation_id or plan_id,
        payload=payload,
        status=Status.REJECTED,
        metrics=Metrics.model_validate({}),
    )


def _report(rejected: Rejected, now: datetime) -> ErrorReport:
    count = len(rejected.faults) + rejected.left_out
    lines = [describe_fault(fault) for fault in rejected.faults]
    if rejected.left_out:
        lines.append(f"... and {rejected.left_out} more faults")
    return ErrorReport(
        severity=Severity.HIGH,
        type=ErrorType.INVALID_REQUEST,
        task_id=rejected.plan_id,
        agent_id="haikud",
        timestamp=now,
        error=ErrorDetail(
            message=f"{rejected.name} was not admitted: {rejected.reason}",
            code=rejected.code,
            details="\n".join(lines),
        ),
        context=ErrorContext(
            operation="Admitting the request",
            environment={"haikud_version": haikud.__version__, "python_version": platform.python_version()},
            faults=rejected.faults,
        ),
        next_steps=NextSteps(
            requires_escalation=False,
            reason="The request itself must be mended; nothing was started" if count == 1 else f"{count} faults",
            suggested_action=f"{rejected.faults[0].fix}; then drop the mended request again",
        ),
    )
