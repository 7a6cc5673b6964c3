"""Which tasks of a plan are merged, in which order, into what. Reads the spool and git, writes nothing.

Fails with `NotMergeable`: the plan is not there, not all of it succeeded, a branch is gone, there is no branch to
merge into.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.format import SpoolFormat
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.listed_repositories import why_not_listed
from haikud.engine.upkeep.look import SeenPlan, SeenTask, evidence_of, read_plan
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.store import Store
from haikud.workspace.git import Git
from haikud.workspace.merging import WantedBranch
from haikud.workspace.repository import current_head, resolve

_DO_NEXT = {
    TaskState.FAILED: "haikud retry {}",
    TaskState.CANCELLED: "haikud retry {}",
    TaskState.ESCALATED: 'haikud answer {} "TEXT"',
    TaskState.PAUSED: "haikud resume {}",
}


class NotMergeable(Exception):  # noqa: N818 - says what is the case
    """There is nothing that may be merged. `advice` says what to do; `is_usage` that the request itself was wrong."""

    def __init__(self, why: str, advice: str, *, is_usage: bool = False) -> None:
        self.advice = advice
        self.is_usage = is_usage
        super().__init__(why)


@dataclass(frozen=True)
class LeftOut:
    """A task that is not merged, and why."""

    ref: str
    why: str


@dataclass(frozen=True)
class RepositoryChoice:
    """What is merged in one repository."""

    common: str
    top: str
    into: str
    onto: str  # its head
    order: WorkspaceOrder  # of one of the tasks: where worktrees lie, and whose they are
    tasks: Sequence[Task]
    branches: Sequence[WantedBranch]


@dataclass(frozen=True)
class Choice:
    """What is merged of a plan."""

    plan: Plan
    repositories: list[RepositoryChoice]
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose(layout: SpoolLayout, plan_id: str, *, into: str | None, partial: bool, listed: Sequence[str] = ()) -> Choice:
    """What `haikud merge` is to merge. `listed`: the settings' `repositories`. Raises NotMergeable."""
    seen = _seen(layout, plan_id)
    left_out = [LeftOut(one.task.ref, _why_not(one)) for one in seen.tasks if not _succeeded(one)]
    if left_out and not partial:
        told = "; ".join(f"{one.ref} {one.why}" for one in left_out)
        advice = "wait for it, or see to it; --partial merges what succeeded without the rest"
        first = next(one for one in seen.tasks if not _succeeded(one))
        if first.last is not None and first.last.state in _DO_NEXT:
            advice = f"{_DO_NEXT[first.last.state].format(first.task.ref)}; or --partial merges what succeeded"
        raise NotMergeable(f"not all of {plan_id} succeeded: {told}", advice)
    succeeded = {one.task.id for one in seen.tasks if _succeeded(one)}
    done = [task for task in dependencies_first(seen.plan.tasks) if task.id in succeeded]
    form = read_model(layout.format_file, SpoolFormat)
    groups: dict[str, list[tuple[Task, WorkspaceOrder]]] = {}
    for task in done:
        order = build_workspace(seen.plan, task, layout.task(task.ref), form.spool_id if form else "")
        if order is not None:
            groups.setdefault(order.git_common_dir, []).append((task, order))
        else:
            left_out.append(LeftOut(task.ref, "has no branch: it worked without a worktree"))
    if not groups:
        why = "none of its tasks succeeded" if not done else "its tasks worked without a worktree"
        raise NotMergeable(f"there is nothing to merge of {plan_id}: {why}", "see `haikud status`")
    for one in [one for pairs in groups.values() for _, one in pairs]:
        refused = why_not_listed([one.repository, one.git_common_dir], listed)
        if refused is not None:
            raise NotMergeable(
                f"{one.repository} {refused}", "add its folder to `repositories` in the settings", is_usage=True
            )
    warnings: list[str] = []
    repositories = [_repository(layout, tasks, into, warnings) for _, tasks in sorted(groups.items())]
    return Choice(seen.plan, repositories, left_out, warnings)


def dependencies_first(tasks: Iterable[Task]) -> list[Task]:
    """The tasks so that none comes before one that it depends on; else in their own order."""
    waiting = list(tasks)
    known = {task.id for task in waiting}
    done: list[Task] = []
    placed: set[str] = set()
    while waiting:
        ready = next((one for one in waiting if set(one.dependencies) & known <= placed), waiting[0])
        waiting.remove(ready)
        placed.add(ready.id)
        done.append(ready)
    return done


def _seen(layout: SpoolLayout, plan_id: str) -> SeenPlan:
    store = Store(layout)
    try:
        seen = read_plan(store, plan_id)
    except UnreadableFile as error:
        raise NotMergeable(f"the plan {plan_id} cannot be read: {error}", "see `haikud doctor`") from error
    if seen is not None:
        return seen
    if store.is_pruned(plan_id):
        raise NotMergeable(f"the plan {plan_id} was pruned: its branches were merged or saved", "", is_usage=True)
    raise NotMergeable(f"there is no plan {plan_id} in {layout.root}", "`haikud status` lists them", is_usage=True)


def _succeeded(one: SeenTask) -> bool:
    return one.last is not None and one.last.state is TaskState.SUCCEEDED


def _why_not(one: SeenTask) -> str:
    if one.last is None:
        return "has no decision"
    return f"is {one.last.state}" + (f" ({one.last.reason})" if one.last.state is TaskState.FAILED else "")


def _repository(
    layout: SpoolLayout, tasks: Sequence[tuple[Task, WorkspaceOrder]], into: str | None, warnings: list[str]
) -> RepositoryChoice:
    order = tasks[0][1]
    name = into or order.main_branch
    onto = current_head(order.git_common_dir, name)
    if onto is None:
        was_detached = into is None and name == order.base_sha
        why = "its checkout was on no branch when the plan came" if was_detached else f"has no branch {name}"
        raise NotMergeable(f"{order.repository}: {why}", "name the branch to merge into: --into BRANCH", is_usage=True)
    branches = [_branch(layout, task, one, onto, warnings) for task, one in tasks]
    return RepositoryChoice(
        order.git_common_dir, order.repository, name, onto, order, [task for task, _ in tasks], branches
    )


def _branch(layout: SpoolLayout, task: Task, order: WorkspaceOrder, onto: str, warnings: list[str]) -> WantedBranch:
    git = Git(order.git_common_dir)
    tip = current_head(order.git_common_dir, order.branch)
    measured = evidence_of(layout.task(task.ref).response).get("head_sha")
    there = resolve(git, measured) if isinstance(measured, str) and measured else None
    if tip is None and there is not None and git.holds("merge-base", "--is-ancestor", there, onto):
        tip = there  # merged by somebody, and then deleted
    if tip is None:
        cure = f"bring it back: git branch {order.branch} {measured}" if there else "plan it anew"
        raise NotMergeable(f"the branch {order.branch} of {task.ref} is gone from {order.repository}", cure)
    if there is not None and not git.holds("merge-base", "--is-ancestor", there, tip):
        warnings.append(
            f"{order.branch} no longer contains {there[:12]}, the commit of its answer; it is merged as it is now"
        )
    return WantedBranch(task.ref, task.title, order.branch, tip)
