"""The envelope: the guide's fields, exactly."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from haikud.contracts.envelope import Envelope, MessageType, Metrics, Response, Status

MESSAGE: dict[str, Any] = {
    "version": "1.0",
    "timestamp": "2025-10-21T10:30:00Z",
    "sender": "main-agent",
    "receiver": "parallel-task-executor",
    "message_type": "task_request",
    "correlation_id": "req-12345",
    "payload": {},
}


def test_the_fields_are_the_guides_and_in_its_order():
    assert list(Envelope.model_fields) == list(MESSAGE)
    assert list(Response.model_fields) == [*list(MESSAGE)[:-1], "status", "payload", "metrics"]
    assert list(Metrics.model_fields) == ["duration_seconds", "cost_usd", "tokens_used"]
    assert Envelope.model_validate(MESSAGE).model_dump(mode="json") == MESSAGE


def test_an_answer_without_metrics_has_zeros():
    response = Response.model_validate({**MESSAGE, "status": "rejected"})
    assert response.metrics.model_dump() == {"duration_seconds": 0.0, "cost_usd": 0.0, "tokens_used": 0}


@pytest.mark.parametrize("field", [*sorted(set(MESSAGE) - {"version"}), "status"])
def test_a_missing_field_is_an_error(field: str):
    message = {**MESSAGE, "status": "success"}
    del message[field]
    with pytest.raises(ValidationError, match=field):
        Response.model_validate(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "maybe"), ("message_type", "letter"), ("payload", []), ("timestamp", "today"), ("sender", 5)],
)
def test_a_wrong_value_is_an_error(field: str, value: Any):
    with pytest.raises(ValidationError, match=field):
        Response.model_validate({**MESSAGE, "status": "success", field: value})


def test_costs_and_tokens_are_never_negative():
    for field in Metrics.model_fields:
        with pytest.raises(ValidationError):
            Metrics.model_validate({field: -1})


def test_the_kinds_and_statuses_are_those_of_the_design():
    assert list(MessageType) == [
        *("task_request", "task_plan", "task_completion", "plan_completion", "escalation", "guidance"),
        "progress_update",
    ]
    assert list(Status) == ["success", "failure", "partial", "blocked", "cancelled", "rejected"]
