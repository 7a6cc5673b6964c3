"""Guidance: the answer to an escalation."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.ids import Ref


class GuidanceAction(StrEnum):
    """What the answer asks for."""

    CONTINUE = "continue"  # same task, worktree, transcript and budget, with the guidance as next message
    RETRY = "retry"  # a fresh attempt in the same worktree
    REASSIGN = "reassign"  # another role or model
    CANCEL = "cancel"


class DroppedGuidance(Model):
    """`guidance/REF.json` as dropped: bare, or as the payload of a guidance envelope."""

    escalation_id: str | None = None
    guidance: str = ""
    action: GuidanceAction = GuidanceAction.CONTINUE
    role: str | None = None
    model: str | None = None


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
