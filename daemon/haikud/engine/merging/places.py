"""Clearing away what a merge that was killed has left: its processes, its place, its record."""

from __future__ import annotations

from haikud.contracts.owner import Owner
from haikud.sandbox.trees import end_tree
from haikud.workspace.merge_place import clear_merge_place, merge_lock, merge_places, place_of, plan_of_merge

GRACE_SECONDS = 2.0


def end_merge(git_common_dir: str, owner: Owner) -> None:
    """End what runs in a place, and remove it. Raises TreeStillAlive, WorkspaceError and OSError."""
    end_tree(marker=str(place_of(owner).folder), pids=[], grace=GRACE_SECONDS)
    clear_merge_place(git_common_dir, owner)


def clear_left_merges(git_common_dir: str) -> list[str]:
    """Clear all that earlier merges left in a repository; the plans they were of. The merge lock is held."""
    left = merge_places(git_common_dir)
    for owner in left:
        end_merge(git_common_dir, owner)
    return [plan_of_merge(owner) for owner in left]


def clear_merge_of(git_common_dir: str, plan_id: str) -> bool:
    """The same for one plan, taking the lock; whether there was anything. Raises MergeIsRunning."""
    left = [owner for owner in merge_places(git_common_dir) if plan_of_merge(owner) == plan_id]
    if left:
        with merge_lock(git_common_dir):
            for owner in left:
                end_merge(git_common_dir, owner)
    return bool(left)
