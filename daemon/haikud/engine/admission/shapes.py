"""Which of the five shapes a document has, bare or inside an envelope. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haikud.contracts.error_report import FieldFault
from haikud.contracts.plan import RequestShape
from haikud.engine.admission.rejection import FaultCode, make_fault
from haikud.engine.admission.values import pointer_of, quoted, shown

ACCEPTED_TYPES = ("task_request", "task_plan")
"""The message types of an envelope that asks for something."""

_OUTLINES: dict[RequestShape, tuple[str, tuple[str, ...]]] = {
    RequestShape.TASK_REQUEST: (
        '{"message_type": "task_request", "payload": {"task": {"title": ...}, "context": {...}}}',
        ("task", "context", "message_type", "payload"),
    ),
    RequestShape.TASK_PLAN: (
        '{"task_plan": {"id": ..., "tasks": [{"id": ..., "title": ...}]}}',
        ("task_plan", "tasks", "metadata", "plan"),
    ),
    RequestShape.PLAN_FILE: (
        '{"task_id": ..., "title": ..., "files": [...], "steps": [...]}',
        ("task_id", "title", "description", "files", "steps", "tests", "success_criteria", "priority", "type"),
    ),
    RequestShape.AGENT_REQUEST: (
        '{"agent": ..., "task": ..., "params": {...}}',
        ("agent", "params", "operation"),
    ),
    RequestShape.TEMPLATE_REQUEST: (
        '{"template": ..., "variables": {...}}',
        ("template", "variables"),
    ),
}
_PLAN_FILE_SIGNS = ("title", "task_id", "steps", "implementation_steps", "files", "task")


@dataclass(frozen=True)
class Recognised:
    """A document's shape; `in_payload` tells whether its body is the envelope's payload or the document itself."""

    shape: RequestShape
    in_payload: bool


class UnknownShape(Exception):  # noqa: N818 - bad input, not an error of ours
    """A document that is none of the five, or more than one of them."""

    def __init__(self, fault: FieldFault) -> None:
        self.fault = fault
        super().__init__(fault.found)


def recognise(document: Any) -> Recognised:
    """The document's shape. Raises UnknownShape, whose fault names what was found and the nearest shape."""
    if not isinstance(document, dict):
        raise _unknown("", document, "an object", "write one object; several tasks go under task_plan.tasks")
    kind = document.get("message_type")
    if isinstance(kind, str) and kind not in ACCEPTED_TYPES:
        raise _not_a_request(kind)
    if document.get("payload") is None:
        if kind is not None and not _signs(document):
            fix = f"put the task there: {_OUTLINES[RequestShape.TASK_REQUEST][0]}"
            raise UnknownShape(
                make_fault(
                    FaultCode.MISSING, "/payload", found="no payload", expected="the envelope's payload", fix=fix
                )
            )
        return Recognised(_shape_of(document, ""), in_payload=False)
    body = document["payload"]
    if not isinstance(body, dict):
        raise _unknown("/payload", body, "an object", f"write {_OUTLINES[RequestShape.TASK_REQUEST][0]}")
    return Recognised(_shape_of(body, "/payload"), in_payload=True)


def _signs(body: Mapping[str, Any]) -> list[RequestShape]:
    """The shapes whose marks are there beyond doubt."""
    task = body.get("task")
    marks = {
        RequestShape.TASK_PLAN: "task_plan" in body or "tasks" in body,
        RequestShape.TASK_REQUEST: isinstance(task, dict),
        RequestShape.AGENT_REQUEST: _is_agent_request(body),
        RequestShape.TEMPLATE_REQUEST: body.get("template") is not None,
    }
    return [shape for shape, is_there in marks.items() if is_there]


def _is_agent_request(body: Mapping[str, Any]) -> bool:
    if body.get("agent") is None:
        return body.get("role") is not None and isinstance(body.get("task"), str)
    return isinstance(body.get("task"), str) or ("params" in body and body.get("title") is None)


def _shape_of(body: Mapping[str, Any], at: str) -> RequestShape:
    signs = _signs(body)
    if len(signs) == 1:
        return signs[0]
    if signs:
        raise UnknownShape(
            make_fault(
                FaultCode.AMBIGUOUS_SHAPE,
                at,
                found=f"{shown(body)}: the marks of {' and of '.join(signs)} at once",
                expected="one of the five shapes of a request",
                fix=f"drop them as {len(signs)} files, or keep only one, such as {_OUTLINES[signs[0]][0]}",
            )
        )
    if any(key in body for key in _PLAN_FILE_SIGNS):
        return RequestShape.PLAN_FILE
    wrapped = [key for key, value in body.items() if isinstance(value, dict) and _looks_like_a_request(value)]
    if len(wrapped) == 1:
        pointer = f"{at}{pointer_of((wrapped[0],))}"
        raise _unknown(at, body, _five(), f"move what is under {quoted(pointer)} to the top of the document")
    nearest = max(_OUTLINES, key=lambda shape: len(set(_OUTLINES[shape][1]) & set(body)))
    if not set(_OUTLINES[nearest][1]) & set(body):
        nearest = RequestShape.PLAN_FILE
    raise _unknown(at, body, _five(), f"the nearest is {nearest}: {_OUTLINES[nearest][0]}")


def _looks_like_a_request(body: Mapping[str, Any]) -> bool:
    return bool(_signs(body)) or any(key in body for key in _PLAN_FILE_SIGNS)


def _five() -> str:
    return f"one of the five shapes of a request ({', '.join(_OUTLINES)})"


def _unknown(at: str, found: Any, expected: str, fix: str) -> UnknownShape:
    return UnknownShape(make_fault(FaultCode.UNKNOWN_SHAPE, at, found=shown(found), expected=expected, fix=fix))


def _not_a_request(kind: str) -> UnknownShape:
    fixes = {
        "guidance": "drop the answer to an escalation into guidance/ as REF.json",
        "task_completion": "answers stay in responses/; drop a task_request or a task_plan",
        "plan_completion": "answers stay in responses/; drop a task_request or a task_plan",
        "escalation": "answer it in guidance/ as REF.json",
        "progress_update": "progress is in status.json; drop a task_request or a task_plan",
    }
    return UnknownShape(
        make_fault(
            FaultCode.NOT_A_REQUEST,
            "/message_type",
            found=quoted(kind),
            expected=" or ".join(ACCEPTED_TYPES),
            fix=fixes.get(kind, "write task_request"),
        )
    )
