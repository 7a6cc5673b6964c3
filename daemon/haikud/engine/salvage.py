"""Saving the work of a runner that died: what its agent had committed comes home to the repository, and is measured.

Best effort, and never a reason not to settle: what cannot be taken home now stays in the task's git folder, where the
next attempt finds it.
"""

from __future__ import annotations

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Task
from haikud.workspace.evidence import measure
from haikud.workspace.git import WorkspaceError
from haikud.workspace.private_git import harvest


def salvage(workspace: WorkspaceOrder, task: Task) -> Evidence | None:
    """Harvest the agent's git folder and measure the branch; None where there is nothing to measure.

    Tests did not run: `tests_passing` stays None.
    """
    try:
        harvest(workspace)
        facts = measure(workspace, workspace.base_sha, [spec.path for spec in task.files])
    except WorkspaceError:
        return None
    facts.pop("warnings", None)
    return Evidence.model_validate(facts)
