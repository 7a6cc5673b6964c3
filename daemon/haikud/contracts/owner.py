"""Who owns a branch and its worktree: `COMMON/haikud/owners/REF.json` in the repository's git folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model


class Owner(Model):
    """The record. `stage` is `creating` until the worktree was once complete."""

    format: Literal[1] = 1
    spool_id: str
    ref: str
    branch: str
    worktree: str  # absolute, as ordered
    real_worktree: str  # the same without symlinks
    start_sha: str  # what the branch's own commits count from
    stage: Literal["creating", "ready"] = "creating"
    merged: list[str] | None = None  # the dependencies' branches it starts from, once they are merged
    attached_tip: str | None = None  # the branch's head when the agent's own git folder was put in place
    index: str | None = None  # inode, size and time of change of the worktree's own index at that moment
    boot_id: str | None = None  # the machine's boot in which an attempt last began here
    emptied: list[str] = Field(default_factory=list)  # files that a power cut emptied, put back and not yet told of
    for_tests: bool = False  # attached for the tests alone: what they commit is nobody's work
    detached: bool = False  # put back without a harvest: what the agent committed waits in its git folder
