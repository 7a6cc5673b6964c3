"""An issue of the local tracker: `issues/N.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp


class IssueComment(Model):
    """One comment. `marker` lets a repeated effect find itself."""

    at: Timestamp
    author: str
    body: str
    marker: str | None = None


class Issue(Model):
    """A local issue."""

    format: Literal[1] = 1
    number: int = Field(ge=1)
    title: str
    body: str = ""
    labels: list[str] = Field(default_factory=list)
    state: Literal["open", "closed"] = "open"
    created_at: Timestamp
    updated_at: Timestamp
    comments: list[IssueComment] = Field(default_factory=list)
    links: list[str] = Field(default_factory=list)
    marker: str | None = None  # of the attempt that created it: looked for before creating it again
