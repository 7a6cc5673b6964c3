"""The tools `report_progress` and `escalate`: how the agent speaks to those who wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.outcome import BadInput, ToolOutcome, required_number, required_text
from haikud.contracts.attempt import Question

_TEXTS = {"type": "array", "items": {"type": "string"}}

REPORT_PROGRESS: dict[str, Any] = {
    "name": "report_progress",
    "description": "Say how far the task is. Shown to those who wait for it; costs nothing else.",
    "input_schema": {
        "type": "object",
        "properties": {
            "percent": {"type": "integer", "minimum": 0, "maximum": 100},
            "message": {"type": "string", "description": "One short line: what was just finished or is being done."},
        },
        "required": ["percent", "message"],
    },
}

ESCALATE: dict[str, Any] = {
    "name": "escalate",
    "description": (
        "Hand a question to the requester and stop. Use it where the task is ambiguous, needs a decision on "
        "architecture, touches security, would break other code, or where you are stuck. The answer comes as the next "
        "message."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "description": "Why you cannot go on, in one sentence."},
            "blocker": {"type": "string", "description": "What exactly stands in the way."},
            "error_details": {"type": "string", "description": "The error's own words, where there is one."},
            "context": {**_TEXTS, "description": "What the requester needs to know to decide; what you tried."},
            "options": {**_TEXTS, "description": "The possible answers, each with its consequence."},
            "recommendation": {"type": "string", "description": "Which option you would take, and why."},
        },
        "required": ["reason", "blocker", "context", "options", "recommendation"],
    },
}

ESCALATED = "Your question was handed on. The answer follows."


def report_progress(events: EventLog, given: Mapping[str, Any]) -> ToolOutcome:
    """Pass progress on."""
    percent = required_number(given, "percent")
    if not 0 <= percent <= 100:
        raise BadInput(f"`percent` must lie between 0 and 100, not {percent}.")
    events.progress(percent, required_text(given, "message", empty=True))
    return ToolOutcome("Noted.")


def escalate(given: Mapping[str, Any]) -> ToolOutcome:
    """The question as the model put it."""
    return ToolOutcome(ESCALATED, question=question_of(given))


def question_of(given: Mapping[str, Any]) -> Question:
    """A question out of the tool's input. Only the reason must be there: a clumsy question is better than none."""
    return Question(
        reason=required_text(given, "reason"),
        blocker=_text(given, "blocker"),
        error_details=_text(given, "error_details"),
        context=_texts(given, "context"),
        options=_texts(given, "options"),
        recommendation=_text(given, "recommendation"),
    )


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return "" if value is None else value if isinstance(value, str) else str(value)


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    value = given.get(name)
    if value is None:
        return []
    return [text if isinstance(text, str) else str(text) for text in (value if isinstance(value, list) else [value])]
