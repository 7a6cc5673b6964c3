"""The guide's message envelope, field by field, and the metrics that answers carry."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp


class MessageType(StrEnum):
    """What a message is."""

    TASK_REQUEST = "task_request"
    TASK_PLAN = "task_plan"
    TASK_COMPLETION = "task_completion"
    PLAN_COMPLETION = "plan_completion"
    ESCALATION = "escalation"
    GUIDANCE = "guidance"
    PROGRESS_UPDATE = "progress_update"


class Status(StrEnum):
    """How a message says it went. `partial` is for plans, `blocked` stands only in `escalations/`."""

    SUCCESS = "success"
    FAILURE = "failure"
    PARTIAL = "partial"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Metrics(Model):
    """What an answer cost, over all attempts. `tokens_used` is input of every class plus output."""

    duration_seconds: float = Field(0.0, ge=0)
    cost_usd: float = Field(0.0, ge=0)
    tokens_used: int = Field(0, ge=0)


class Header(Model):
    """What every message begins with."""

    version: str = "1.0"
    timestamp: Timestamp
    sender: str
    receiver: str
    message_type: MessageType
    correlation_id: str


class Envelope(Header):
    """The guide's "standard message format"."""

    payload: JsonObject


class Response(Header):
    """The guide's "standard response format": what haikud answers to the requester.

    `payload` is a `CompletionPayload` for a task and a `PlanCompletionPayload` for a plan of shape 2 (`completion.py`).
    """

    status: Status
    payload: JsonObject
    metrics: Metrics = Field(default_factory=lambda: Metrics.model_validate({}))
