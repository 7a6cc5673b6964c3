"""Guidance: the answer to an escalation."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.ids import Ref
from haikud.contracts.main_agent import MainAgentCost


class GuidanceAction(StrEnum):
    """What the answer asks for."""

    CONTINUE = "continue"  # same task, worktree, transcript and budget, with the guidance as next message
    RETRY = "retry"  # a fresh conversation in the same worktree
    REASSIGN = "reassign"  # another role or model; both others may name one too
    CANCEL = "cancel"


class DroppedGuidance(Model):
    """`guidance/REF.json` as dropped: bare, or as the payload of a guidance envelope."""

    escalation_id: str | None = None
    guidance: str = ""
    action: GuidanceAction = GuidanceAction.CONTINUE
    role: str | None = None
    model: str | None = None
    metadata: JsonObject = Field(default_factory=dict)  # kept as it is: what the answer cost the main agent, ...


class Guidance(Model):
    """`guidance-NNNN.json` in the task's folder: an answer that was taken."""

    format: Literal[1] = 1
    number: int
    ref: Ref
    escalation_id: str
    at: Timestamp
    token: str
    text: str
    action: GuidanceAction
    role: str | None = None
    model: str | None = None
    metadata: JsonObject = Field(default_factory=dict)
    main_agent: MainAgentCost | None = None  # what `metadata.main_agent` says, priced
    warnings: list[str] = Field(default_factory=list)  # what of it could not be used


class GivenGuidance(Model):
    """In spec.json: an answer that was given on the task so far. The agent is shown all that it has not seen."""

    number: int
    escalation_id: str
    question: str = ""  # why the agent had asked
    text: str
    action: GuidanceAction
    role: str | None = None  # that the task was given to with it
    model: str | None = None
