"""The built-in agent's turns: one record a line of `transcript.jsonl`, over all attempts of a task."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.usage import UsageEntry


class LineKind(StrEnum):
    """What a line of the transcript is."""

    ATTEMPT = "attempt"  # an attempt begins here; no message
    FRESH = "fresh"  # a new conversation begins here: what stands above is for people only
    USER = "user"  # haikud's words to the model: the assignment, guidance, notes
    ASSISTANT = "assistant"  # one whole turn of the model, durable before its tools run
    TOOL_RESULT = "tool_result"  # one result, durable as soon as it is there
    REFUSED = "refused"  # a turn that the model refused; never sent back
    CALL = "call"  # a model call begins that no gateway notes; `usage` is the most that it can cost; no message
    CLEARED = "cleared"  # from here on the API is asked to clear old tool results; no message
    PAID = "paid"  # a call has ended without a turn; `usage` is what it cost, absent: nothing; no message


class TranscriptLine(Model):
    """One line. `content` holds blocks of the Messages API exactly as they were received or are sent."""

    format: Literal[1] = 1
    at: Timestamp
    attempt: int
    kind: LineKind
    content: list[JsonObject] = Field(default_factory=list)
    key: str = ""  # user: what was said, so that it is said once: "assignment", "guidance-0001.json", ...
    model: str = ""
    stop_reason: str = ""  # assistant
    usage: UsageEntry | None = None  # assistant, refused, call, paid
    tool_use_id: str = ""  # tool_result
    tool: str = ""  # tool_result
    same_as: str = ""  # tool_result that is only a note: the tool use whose result has the text, or "first message"
    cleared: int = Field(0, ge=0)  # cleared: how many results, the oldest of the conversation
    cleared_inputs: bool = False  # cleared: with the inputs of their calls
