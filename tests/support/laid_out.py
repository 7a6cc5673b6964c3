"""A spool with many queued tasks, laid out by the store's own admission without waiting for the disk."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision, QueueState
from haikud.contracts.ids import task_ref
from haikud.contracts.plan import FileSpec, Plan, RepositoryAtAdmission, RequestShape, Task
from haikud.contracts.states import TaskState
from haikud.spool.durable import write_quickly
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.store import Store


def lay_out_tasks(
    root: Path,
    plans: int,
    tasks_per_plan: int,
    *,
    name: str = "p",
    repository: Path = Path("/srv/project"),
    paused: bool = True,
) -> SpoolLayout:
    """So many plans of so many queued tasks, in a queue that is paused."""
    open_spool(root)
    layout = SpoolLayout(root)
    store = Store(layout)
    if paused:
        write_quickly(layout.queue_file, dump(QueueState(paused=True, reason="paused for the test")))
    with mock.patch.object(os, "fsync"):
        for number in range(plans):
            plan = make_plan(f"{name}{number}", tasks_per_plan, repository)
            store.admit(plan, b"{}", {task.id: first_decision(task) for task in plan.tasks})
    return layout


def make_plan(plan_id: str, tasks: int, repository: Path = Path("/srv/project")) -> Plan:
    """A plan of so many tasks that depend on nothing."""
    ids = [plan_id] if tasks == 1 else [f"t{number}" for number in range(tasks)]
    return Plan(
        id=plan_id,
        shape=RequestShape.PLAN_FILE if tasks == 1 else RequestShape.TASK_PLAN,
        correlation_id=plan_id,
        admitted_at=utc_now(),
        token=f"{abs(hash(plan_id)):016x}"[:16],
        content_sha256="0" * 64,
        request_file="request.json",
        dropped_as=f"{plan_id}.json",
        tasks=[
            Task(
                id=task_id,
                ref=task_ref(plan_id, task_id, only_task=tasks == 1),
                title=f"Implement the part {task_id} of the page",
                description="What a description says: two or three lines of text about the work to be done. " * 3,
                files=[FileSpec(path=f"src/{task_id}.py", operation="create")],
                steps=["Read what is there", "Write the code", "Write the tests"],
                repository=RepositoryAtAdmission(
                    path=str(repository), git_common_dir=str(repository / ".git"), main_branch="main", base_sha="0" * 40
                ),
                branch=f"feature/{plan_id}.{task_id}",
                worktree=str(repository / "worktrees" / f"{plan_id}.{task_id}"),
            )
            for task_id in ids
        ],
    )


def first_decision(task: Task) -> Decision:
    """Admitted, and queued at once."""
    return Decision(number=1, at=utc_now(), ref=task.ref, state=TaskState.QUEUED, reason="admitted")
