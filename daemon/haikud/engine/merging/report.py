"""The blocked report of a merge: the guide's, in the envelope of an escalation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from haikud.contracts.completion import EscalationPayload
from haikud.contracts.envelope import MessageType, Metrics, Response, Status
from haikud.contracts.plan import Plan
from haikud.engine.merging.choice import RepositoryChoice
from haikud.engine.merging.testing import CheckRun
from haikud.workspace.merging import BranchConflict, Merge

SENDER = "haikud-merge"

_MOST_DETAILS = 20_000


def conflict_report(plan: Plan, where: RepositoryChoice, conflict: BranchConflict, cost: float) -> EscalationPayload:
    """A branch that does not merge."""
    wanted = conflict.wanted
    others, files = " and ".join(conflict.others), ", ".join(conflict.files)
    other = conflict.others[-1]
    worktree = next((one.worktree for one in where.tasks if one.ref == wanted.ref), None)
    return EscalationPayload(
        escalation_id=_id(plan),
        ref=wanted.ref,
        title=wanted.title,
        reason=f"{wanted.branch} does not merge into {where.into}",
        blocker=f"Merge conflict between {wanted.branch} and {others} in {files}",
        error_details=conflict.details[:_MOST_DETAILS],
        context=[
            f"Repository: {where.top}; {where.into} is at {where.onto[:12]}, and nothing was changed",
            f"Merged without conflict before it: {', '.join(conflict.steps) or 'nothing'}",
            f"Each branch was made and judged on its own start commit; both change {files}",
        ],
        options=[
            f"Resolve it on {wanted.branch}: in {worktree}, `git merge {other}`, mend the files, commit",
            f"Delegate that: submit a task that depends on nothing, says what {files} must do, and starts from {other}",
            f"Merge by hand what you want of it and leave {wanted.branch} out",
        ],
        recommendation=(
            f"Read both sides (`git diff {where.onto[:12]}...{wanted.branch} -- {' '.join(conflict.files)}`, and the "
            f"same of {other}), resolve it on {wanted.branch}, then run `haikud merge {plan.id}` again: "
            "haikud does not choose a side"
        ),
        cost_so_far=cost,
        branch=wanted.branch,
        worktree=worktree,
        answer_with=f"resolve it on a branch, then haikud merge {plan.id}",
    )


def red_report(
    plan: Plan, where: RepositoryChoice, merge: Merge, runs: Sequence[CheckRun], cost: float
) -> EscalationPayload:
    """A result whose setup or tests do not pass."""
    run = runs[-1]
    how = "ended at its time limit" if run.timed_out else f"exited with {run.exit_code}"
    names = [step.wanted.branch for step in merge.steps if step.commit is not None]
    last = names[-1] if names else where.into
    return EscalationPayload(
        escalation_id=_id(plan),
        ref=plan.id,
        title=f"Merge of {plan.id} into {where.into}",
        reason=f"The {run.what} command does not pass on the merged result",
        blocker=f"`{run.command}` {how} on {' + '.join(names)}, merged into {where.into}",
        error_details=run.tail[-_MOST_DETAILS:],
        context=[
            f"Repository: {where.top}; {where.into} is at {where.onto[:12]}, and nothing was changed",
            f"The branches merge without conflict: {', '.join(names)}",
            f"Each passed its own tests alone; together they do not, or {where.into} has moved since they began",
            f"The result is commit {merge.result}: `git diff {where.onto[:12]} {merge.result[:12]}` shows it",
        ],
        options=[
            f"Mend it on the branch that is at fault, in its worktree, commit, then haikud merge {plan.id} again",
            f"Delegate that: submit a task with the failing output, then merge {last} and its branch by hand",
            "Name another test command with --test-command where this one is wrong",
        ],
        recommendation=f"Look at what {' and '.join(names)} change together; the output above says what broke first",
        cost_so_far=cost,
        answer_with=f"mend it on a branch, then haikud merge {plan.id}",
    )


def as_message(plan: Plan, payload: EscalationPayload, now: datetime, seconds: float) -> Response:
    """The report in its envelope."""
    return Response(
        timestamp=now,
        sender=SENDER,
        receiver=plan.sender,
        message_type=MessageType.ESCALATION,
        correlation_id=plan.correlation_id,
        status=Status.BLOCKED,
        payload=payload.model_dump(mode="json"),
        metrics=Metrics(duration_seconds=round(seconds, 3)),
    )


def _id(plan: Plan) -> str:
    return f"{plan.id}.merge"
