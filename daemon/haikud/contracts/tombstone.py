"""A tombstone: what stays of a plan that was pruned, so that its id stays used. `plans/.pruned/PLAN`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.ids import Id, Ref


class Tombstone(Model):
    """The record, and where its commits are."""

    format: Literal[1] = 1
    plan_id: Id
    pruned_at: Timestamp
    finished_at: Timestamp | None = None  # when its last task got its final decision
    content_sha256: str  # of the request: the same content dropped again is told so
    token: str = ""  # of its taken file: should a power cut bring that back, it was answered long ago
    refs: list[Ref] = Field(default_factory=list)  # of its tasks
    rescued: dict[str, str] = Field(default_factory=dict)  # task ref -> the git ref that keeps its commits
    branches_kept: list[str] = Field(default_factory=list)
