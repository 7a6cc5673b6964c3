"""The question that a task asks when the branches it starts from do not merge: both sides, by branch, task and diff."""

from __future__ import annotations

from pathlib import Path

from haikud.agent.attempt import clean_text
from haikud.contracts.attempt import Question, Spec, WorkspaceOrder
from haikud.contracts.ids import task_ref
from haikud.workspace.commits import MergeConflict
from haikud.workspace.conflicts import Side, find_sides
from haikud.workspace.worktrees import branch_name


def conflict_question(spec: Spec, order: WorkspaceOrder, conflict: MergeConflict) -> Question:
    """Ask who is right. Raises GitError."""
    sides = find_sides(order, conflict)
    files = ", ".join(conflict.files) or "their histories, which have nothing in common"
    tasks = {side.branch: _task_of(spec, side.branch) for side in sides}
    told = {branch: f"{branch} (task {task})" if task else branch for branch, task in tasks.items()}
    others = " and ".join(told[side.branch] for side in sides[:-1])
    last = sides[-1]
    return Question(
        reason=clean_text(f"Merge conflict between {others} and {told[last.branch]} in {files}"),
        blocker=clean_text(f"Both sides change the same lines of {files}; {order.branch} is to start from both"),
        error_details=clean_text("\n\n".join([str(conflict), *(_diff_of(side, told[side.branch]) for side in sides)])),
        context=[
            clean_text(text)
            for text in (
                f"{order.branch} starts from the branches of the tasks that it depends on",
                f"conflicting branches: {', '.join(side.branch for side in sides)}",
                f"conflicting files: {files}",
                *(f"{told[side.branch]} in full: {side.command}" for side in sides),
            )
        ],
        options=[
            clean_text(
                f"Merge by hand: in the worktree of {last.branch}{_place(order, last.branch)} run "
                f"`git merge {sides[0].branch}`, resolve, commit; then answer `retry`, or anything: the branches are "
                "merged again"
            ),
            "Cancel this task and plan it anew on top of the merged branches",
        ],
        recommendation="Resolve the conflict in the dependencies' branches: haikud does not choose a side",
    )


def _task_of(spec: Spec, branch: str) -> str | None:
    """The dependency whose branch it is."""
    for task_id in spec.task.dependencies:
        if branch_name(task_ref(spec.plan_id, task_id, only_task=False)) == branch:
            return task_id
    return None


def _diff_of(side: Side, told: str) -> str:
    head = f"{told}, changes since {side.base}:" if side.base else f"{told}:"
    return f"{head}\n{side.diff or '(no textual change)'}"


def _place(order: WorkspaceOrder, branch: str) -> str:
    folder = Path(order.worktree).parent / branch.rpartition("/")[2]
    return f" ({folder})" if (folder / ".git").exists() else ""
