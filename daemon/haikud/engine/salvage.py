"""Saving the work of a runner that died: what its agent had committed comes home to the repository.

Best effort, and never a reason not to settle: what cannot be taken home now stays in the task's git folder, where the
next attempt, or `haikud doctor`, finds it.
"""

from __future__ import annotations

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Task
from haikud.workspace.git import WorkspaceError
from haikud.workspace.private_git import harvest


def salvage(workspace: WorkspaceOrder, task: Task) -> Evidence | None:
    """Harvest the agent's git folder and measure the branch; None where there is nothing to measure."""
    try:
        head = harvest(workspace).head_sha
    except WorkspaceError:
        return None
    return Evidence(base_sha=workspace.base_sha, head_sha=head, branch=task.branch, worktree=task.worktree)
