"""Saving the work of a runner that died: what its agent had committed comes home to the repository, and is measured.

Best effort, and never a reason not to settle: what cannot be taken home now stays in the task's git folder, where the
next attempt finds it.
"""

from __future__ import annotations

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Task
from haikud.workspace.evidence import measure
from haikud.workspace.git import GitKilled, WorkspaceError
from haikud.workspace.ownership import expect_owner
from haikud.workspace.private_git import harvest, is_attached

TRIES = 5
"""A git that was killed said neither yes nor no, so it is asked again; who kills each of them wins in the end."""


def left_attached(workspace: WorkspaceOrder) -> bool:
    """Whether the agent's git folder is still in place in the worktree, though its runner is gone."""
    try:
        return is_attached(workspace)
    except WorkspaceError:
        return False


def salvage(workspace: WorkspaceOrder, task: Task) -> Evidence | None:
    """Harvest the agent's git folder and measure the branch; None where there is nothing to measure.

    Tests did not run: `tests_passing` stays None.
    """
    for _ in range(TRIES):
        try:
            harvest(workspace)
            start = expect_owner(workspace).start_sha  # its dependencies' commits are none of its own
            facts = measure(workspace, start, [spec.path for spec in task.files])
        except GitKilled:
            continue
        except WorkspaceError:
            return None
        facts.pop("warnings", None)
        return Evidence.model_validate(facts)
    return None
