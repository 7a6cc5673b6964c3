"""Whether the branches and worktrees that a plan wants are free: asked at admission, and again when one is made.

Read-only, one look for a whole plan. Two spools may still ask at the same moment; then the ownership record decides at
setup. Fails with WorkspaceError and OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from haikud.workspace.git import Git
from haikud.workspace.ownership import BRANCH_PREFIX, branch_name, load_record, owners_folder
from haikud.workspace.refs import find_ref, has_refs_at

_ROOT_BRANCH = BRANCH_PREFIX.rstrip("/")

_FEW = 8
"""Branches that are looked for one by one; more than that by one call of git."""


@dataclass(frozen=True)
class Obstacle:
    """What is in the way of a branch or worktree, and what to do about it."""

    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.found}; {self.fix}"


def find_obstacles(
    git_common_dir: str | Path, worktrees: Mapping[str, str], spool_id: str | None
) -> dict[str, Obstacle]:
    """Ref -> what is in its way, where something is. `worktrees`: ref -> the worktree it wants.

    What an ownership record says to be this spool's own is not in its way. A None `spool_id` is a spool that is not
    there yet, and owns nothing.
    """
    general = _root_obstacle(git_common_dir)
    if general is not None:
        return dict.fromkeys(worktrees, general)
    branches = _branches(git_common_dir, worktrees)
    found: dict[str, Obstacle] = {}
    for ref, worktree in worktrees.items():
        obstacle = _of_one(git_common_dir, ref, worktree, spool_id, has_branch=ref in branches)
        if obstacle is not None:
            found[ref] = obstacle
    return found


def _root_obstacle(git_common_dir: str | Path) -> Obstacle | None:
    """A branch whose name is the folder of all our branches: git can have one or the other."""
    if find_ref(git_common_dir, f"refs/heads/{_ROOT_BRANCH}") is None:
        return None
    return Obstacle(
        f"a branch called {_ROOT_BRANCH}, beside which git can have no {BRANCH_PREFIX}...",
        f"rename it: git branch -m {_ROOT_BRANCH} NEW-NAME",
    )


def _place_obstacle(worktree: str | Path) -> Obstacle | None:
    """What lies where the worktree's folders must be and is no folder."""
    for folder in Path(worktree).parents:
        if folder.is_dir():
            return None
        if os.path.lexists(folder):
            return Obstacle(f"{folder}, which is no folder, where worktrees are made", "move it, or set worktree_root")
    return None


def _of_one(
    git_common_dir: str | Path, ref: str, worktree: str, spool_id: str | None, *, has_branch: bool
) -> Obstacle | None:
    branch = branch_name(ref)
    record = load_record(owners_folder(git_common_dir) / f"{ref}.json")
    if record is not None and record.spool_id == spool_id:
        return None
    if record is not None and (has_branch or os.path.lexists(record.worktree)):
        who = f"the haikud spool {record.spool_id} (worktree {record.worktree})"
        return Obstacle(f"branch {branch}, which belongs to {who}", "give the plan another id")
    if has_branch:
        fix = f"give the plan another id, or rename the branch: git branch -m {branch} NEW-NAME"
        return Obstacle(f"branch {branch} (or one beneath it), which exists and is not haikud's", fix)
    if os.path.lexists(worktree):
        return Obstacle(f"{worktree}, which exists and is not haikud's", "move it away, or give the plan another id")
    return _place_obstacle(worktree)


def _branches(git_common_dir: str | Path, refs: Iterable[str]) -> set[str]:
    """Those of the refs whose branch exists, or has branches beneath it."""
    heads = {f"refs/heads/{branch_name(ref)}": ref for ref in refs}
    if len(heads) <= _FEW:
        return {ref for name, ref in heads.items() if has_refs_at(git_common_dir, name)}
    listed = Git(git_common_dir).run("for-each-ref", "--format=%(refname)", "--", *heads).splitlines()
    depth = next(iter(heads)).count("/") + 1
    return {heads[name] for line in listed if (name := "/".join(line.split("/")[:depth])) in heads}
