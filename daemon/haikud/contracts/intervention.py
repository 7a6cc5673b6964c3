"""An intervention: a monitor has seen that an attempt does not get on (the guide's "Monitor and Intervene Early")."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model

Action = Literal["escalate", "restart", "note"]


class Trigger(StrEnum):
    """What a monitor saw."""

    SILENCE = "silence"  # no sign of the agent for monitors.silence_seconds
    TESTS_FAILING = "tests_failing"  # run again and again, for monitors.tests_failing_seconds
    SAME_OPERATION = "same_operation"  # monitors.repeats times in a row
    REPEATED_ERROR = "repeated_error"  # monitors.repeats times in a row
    UNDECLARED_FILES = "undeclared_files"  # changed, though the task does not declare them


class Intervention(Model):
    """In orders.json the engine's word to a running attempt; in result.json why an attempt was ended."""

    trigger: Trigger
    message: str  # one line for people
    evidence: list[str] = Field(default_factory=list)
    action: Action = "escalate"
    files: list[str] = Field(default_factory=list)  # with `undeclared_files`
