"""The order for one attempt: spec.json and assignment.json, built from plan, decisions and settings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

import haikud
from haikud.contracts.attempt import Assignment, ResolvedRole, Spec, WorkspaceOrder
from haikud.contracts.decision import Decision
from haikud.contracts.gateway import GatewayPlace
from haikud.contracts.guidance import GivenGuidance
from haikud.contracts.plan import Plan, Task
from haikud.contracts.secret_shapes import looks_secret
from haikud.contracts.settings import EnvironmentSettings, Settings
from haikud.contracts.states import AttemptOutcome, is_final
from haikud.contracts.usage import UsageTotal
from haikud.engine.budgets import TOMORROW
from haikud.engine.policy import BEGINS_AFRESH, VANISHED
from haikud.spool.layout import TaskPaths

RETRIED = VANISHED | {AttemptOutcome.EXITED_WITH_ERROR, AttemptOutcome.FAILED_TO_START}
"""Outcomes after which the next attempt is a retry, and not a task that goes on."""


HEARD = frozenset({AttemptOutcome.ESCALATED})
"""Outcomes which show that the agent has taken the conversation up again, or that an answer will make it do so; one
that was paused, or whose runner vanished, may not have."""


@dataclass(frozen=True)
class Order:
    """What an attempt is built from."""

    plan: Plan
    task: Task
    decisions: Sequence[Decision]  # so far, the last one `queued`
    role: ResolvedRole
    settings: Settings
    base_url: str | None
    paths: TaskPaths
    spool_id: str
    budget_usd: float
    spent: UsageTotal
    now: datetime
    accepted_files: list[str] = field(default_factory=list)  # undeclared ones that a question was about already
    guidance: list[GivenGuidance] = field(default_factory=list)  # all answers so far
    gateway: GatewayPlace | None = None  # where its model calls go, if it makes any
    sandbox: str = "none"  # the mode that was found to work

    @property
    def attempt(self) -> int:
        """The new attempt's number."""
        return self.decisions[-1].attempt + 1


def build_spec(order: Order) -> Spec:
    """The engine's order for one attempt."""
    last, settings, task = order.decisions[-1], order.settings, order.task
    reason, most = retry_of(order.decisions, settings)
    note = resume_note(order.decisions)
    api = settings.api
    return Spec(
        ref=task.ref,
        plan_id=order.plan.id,
        task_id=task.id,
        attempt=order.attempt,
        agent_id=agent_id(order.plan, task, order.role.name),
        ordered_at=order.now,
        task=task,
        role=order.role,
        workspace=build_workspace(order.plan, task, order.paths, order.spool_id),
        limits=settings.limits,
        api=api.model_copy(update={"base_url": api.base_url or order.base_url, "key_file": None}),
        git=settings.git,
        monitors=settings.monitors,
        context=settings.context,
        accepted_files=order.accepted_files,
        prices=settings.prices_by_id,
        sonnet_model=settings.sonnet_model,
        budget_usd=order.budget_usd,
        spent=order.spent,
        fresh=last.fresh,
        guidance=order.guidance,
        **environment_of(settings),
        hidden_files=settings.secret_files,
        retry_reason=reason,
        retry_of=most,
        resume_note=note.text if note else None,
        resume_key=f"note:after-{note.after}" if note else "",
        templates_dir=settings.templates_dir,
        gateway=order.gateway,
        issues=settings.issues,
        github=settings.github,
        sandbox=order.sandbox,
        isolation=settings.sandbox,
        daemon_version=haikud.__version__,
    )


def environment_of(settings: Settings) -> dict[str, Any]:
    """What agents get beyond the guide's variables: names and values that may stand in spec.json.

    A value that looks secret is put into the runner's environment, and only its name into the order.
    """
    kept_back, chosen = settings.secrets.names, settings.environment
    secret = secret_values(chosen)
    plain = {name: value for name, value in chosen.set_values.items() if name not in secret}
    named = {**dict.fromkeys(chosen.pass_names), **dict.fromkeys(chosen.set_values)}
    return {
        "pass_environment": [name for name in named if name not in kept_back and name not in plain],
        "set_environment": {name: value for name, value in plain.items() if name not in kept_back},
        "withheld_environment": [name for name in named if name in kept_back],
    }


def secret_values(chosen: EnvironmentSettings) -> dict[str, str]:
    """Those of `set_values` whose names say that they are secrets."""
    return {name: value for name, value in chosen.set_values.items() if looks_secret(name)}


def build_assignment(task: Task) -> Assignment:
    """The guide's "simplified subset": all that the agent gets to see."""
    return Assignment(
        task_id=task.id,
        title=task.title,
        description=task.description,
        type=task.type,
        files=[spec.path for spec in task.files],
        file_details=task.files,
        steps=marked_steps(task),
        tests=task.tests,
        success_criteria=task.success_criteria,
        operation=task.operation,
        params=task.params,
        context=task.context,
    )


def marked_steps(task: Task) -> list[str]:
    """The steps, with a mark on those that may be left undone."""
    optional = set(task.optional_steps)
    return [
        f"{step} (optional)" if place in optional and "(optional)" not in step.lower() else step
        for place, step in enumerate(task.steps, 1)
    ]


def build_workspace(plan: Plan, task: Task, paths: TaskPaths, spool_id: str) -> WorkspaceOrder | None:
    """Where the task works; None where it gets an empty folder."""
    where = task.repository
    if task.workspace == "none" or where is None or task.branch is None or task.worktree is None:
        return None
    needed = [plan.task(name) for name in task.dependencies]
    return WorkspaceOrder(
        repository=where.path,
        git_common_dir=where.git_common_dir,
        branch=task.branch,
        worktree=task.worktree,
        main_branch=where.main_branch,
        base_sha=where.base_sha,
        private_git=str(paths.private_git),
        spool_id=spool_id,
        merge_refs=[
            one.branch
            for one in needed
            if one.branch and one.repository and one.repository.git_common_dir == where.git_common_dir
        ],
    )


def retry_of(decisions: Sequence[Decision], settings: Settings) -> tuple[str | None, int | None]:
    """Why the next attempt is a retry and which number the last one allowed will have; two None where it is none.

    Attempts before a person's retry do not count; those that a pause, a question, a limit of the account or the day's
    budget ended neither, so the last number is that of this attempt and those that may follow it.
    """
    settled: Decision | None = None
    for decision in reversed(decisions):
        if is_final(decision.state):
            return None, None
        if decision.outcome is not None:
            settled = decision
            break
    if settled is not None and settled.restarts and settled.reason.startswith(BEGINS_AFRESH):
        return settled.reason, settled.attempt + 1
    if settled is None or settled.outcome not in RETRIED or settled.reason.endswith(TOMORROW):
        return None, None
    if settled.outcome is AttemptOutcome.EXITED_WITH_ERROR:
        left = settings.retries.attempts - settled.failures
    else:
        left = settings.retries.orphans - settled.orphans + 1
    return settled.reason, settled.attempt + max(left, 1)


class Note(NamedTuple):
    """What an agent is to be told of the decision with that number."""

    after: int
    text: str


def resume_note(decisions: Sequence[Decision]) -> Note | None:
    """What to tell the agent of a task that a monitor restarted, or that had ended and a person wants tried again."""
    restarted = _restart_note(decisions)
    if restarted is not None:
        return restarted
    since_then = list(takewhile(lambda one: not is_final(one.state), reversed(decisions)))
    if len(since_then) == len(decisions) or any(one.outcome in HEARD for one in since_then):
        return None
    ended = decisions[-len(since_then) - 1]
    return Note(
        ended.number,
        f"This task had ended as {ended.state} after your last turn: {ended.reason}. It is asked for once more: "
        "look at what is there, mend what is missing or wrong, and finish it.",
    )


def _restart_note(decisions: Sequence[Decision]) -> Note | None:
    """The same, where no attempt since the restart is known to have heard of it."""
    for last, before in zip(reversed(decisions), list(reversed(decisions))[1:], strict=False):
        if last.restarts > before.restarts:
            return Note(
                last.number,
                f"An attempt before this one was ended. {last.reason.removeprefix(BEGINS_AFRESH)}. Nothing of its "
                "conversation is left, but its work is in the worktree: look at what is there, and go about it "
                "another way. Where you cannot, call escalate.",
            )
        if last.outcome in HEARD or is_final(last.state):
            return None
    return None


def agent_id(plan: Plan, task: Task, role: str) -> str:
    """ROLE-N, N being the task's place in its plan: the guide's `parallel-task-executor-1`."""
    place = next(number for number, one in enumerate(plan.tasks, 1) if one.id == task.id)
    return f"{role}-{place}"
