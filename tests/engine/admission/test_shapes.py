"""The five shapes, bare and in an envelope, and what is none of them."""

from __future__ import annotations

from typing import Any

import pytest

from haikud.contracts.plan import RequestShape
from haikud.engine.admission.shapes import UnknownShape, recognise

BODIES: list[tuple[dict[str, Any], RequestShape]] = [
    ({"task": {"title": "x"}, "context": {}}, RequestShape.TASK_REQUEST),
    ({"task_plan": {"tasks": []}}, RequestShape.TASK_PLAN),
    ({"tasks": [{"title": "x"}]}, RequestShape.TASK_PLAN),
    ({"title": "x"}, RequestShape.PLAN_FILE),
    ({"task_id": "x"}, RequestShape.PLAN_FILE),
    ({"task": "Add a button", "files": [], "steps": []}, RequestShape.PLAN_FILE),
    ({"title": "x", "agent": "test-runner"}, RequestShape.PLAN_FILE),
    ({"agent": "a", "task": "b"}, RequestShape.AGENT_REQUEST),
    ({"agent": "a", "params": {}}, RequestShape.AGENT_REQUEST),
    ({"role": "a", "task": "b"}, RequestShape.AGENT_REQUEST),
    ({"template": "a", "variables": {}}, RequestShape.TEMPLATE_REQUEST),
    ({"template": "a", "title": "x", "agent": "b"}, RequestShape.TEMPLATE_REQUEST),
]


@pytest.mark.parametrize(("body", "shape"), BODIES)
def test_a_shape_is_known_bare_and_in_an_envelope(body: dict[str, Any], shape: RequestShape):
    assert recognise(body).shape is shape
    assert recognise(body).in_payload is False
    for kind in ("task_request", "task_plan"):
        wrapped = recognise({"message_type": kind, "correlation_id": "x", "payload": body})
        assert (wrapped.shape, wrapped.in_payload) == (shape, True)


@pytest.mark.parametrize(
    ("document", "code", "found", "fix"),
    [
        ([], "UNKNOWN_SHAPE", "list", "task_plan.tasks"),
        ("x", "UNKNOWN_SHAPE", "string", "object"),
        (7, "UNKNOWN_SHAPE", "number 7", "object"),
        ({}, "UNKNOWN_SHAPE", "empty object", "plan_file"),
        ({"foo": 1, "bar": 2}, "UNKNOWN_SHAPE", "foo, bar", "plan_file"),
        ({"variables": {}}, "UNKNOWN_SHAPE", "variables", "template_request"),
        ({"params": {}}, "UNKNOWN_SHAPE", "params", "agent_request"),
        ({"metadata": {}}, "UNKNOWN_SHAPE", "metadata", "task_plan"),
        ({"assigned_task": {"title": "x"}}, "UNKNOWN_SHAPE", "assigned_task", "/assigned_task"),
        ({"task_plan": {}, "template": "x"}, "AMBIGUOUS_SHAPE", "task_plan and of template_request", "2 files"),
        ({"task_plan": {}, "task": {}}, "AMBIGUOUS_SHAPE", "task_request", "2 files"),
        ({"agent": "a", "task": "b", "template": "c"}, "AMBIGUOUS_SHAPE", "agent_request", "2 files"),
        ({"payload": 5}, "UNKNOWN_SHAPE", "number 5", "payload"),
        ({"message_type": "task_request"}, "MISSING", "no payload", "payload"),
        ({"message_type": "task_completion", "payload": {}}, "NOT_A_REQUEST", "task_completion", "responses/"),
        ({"message_type": "guidance", "payload": {}}, "NOT_A_REQUEST", "guidance", "guidance/"),
        ({"message_type": "bla", "title": "x"}, "NOT_A_REQUEST", "bla", "task_request"),
    ],
)
def test_what_is_no_shape_is_named_with_the_nearest(document: Any, code: str, found: str, fix: str):
    with pytest.raises(UnknownShape) as caught:
        recognise(document)
    fault = caught.value.fault
    assert fault.code == code
    assert found in fault.found
    assert fix in fault.fix
