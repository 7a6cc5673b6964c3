"""Responses: what haikud answers, built from plan, decisions and what the attempts left. Pure.

Facts come from evidence, what the runner measured; the agent's own words stand under `summary` and nowhere else.
Metrics and costs are sums over all attempts of a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from haikud.contracts.attempt import Question, Result
from haikud.contracts.base import JsonObject
from haikud.contracts.completion import (
    CompletionPayload,
    EscalationPayload,
    EscalationTold,
    PlanCompletionPayload,
    TaskAnswer,
)
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import MessageType, Metrics, Response, Status
from haikud.contracts.error_report import ErrorReport, NextSteps
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.costs.comparison import AgentCost, agent_costs, cost_of_main_agent, time_saved
from haikud.engine.answers.reports import engine_report
from haikud.engine.answers.told import with_costs
from haikud.engine.attempts.results import AttemptRecord, used_by_model, used_so_far
from haikud.engine.words import name_escalation

_STATUS = {
    TaskState.SUCCEEDED: Status.SUCCESS,
    TaskState.FAILED: Status.FAILURE,
    TaskState.CANCELLED: Status.CANCELLED,
}


@dataclass(frozen=True)
class TaskHistory:
    """A task, how it stands and what its attempts left."""

    plan: Plan
    task: Task
    decision: Decision
    attempts: Sequence[AttemptRecord]
    log_file: str
    evidence: Evidence | None = None  # measured by the engine, where the runner died before it could
    costs: Sequence[AgentCost] = field(default=())
    told: Sequence[EscalationTold] = field(default=())  # its questions and their answers

    @property
    def role(self) -> str:
        """Whom the task was given to last."""
        return self.decision.role or self.task.role

    @property
    def last_result(self) -> Result | None:
        """The newest attempt's result."""
        return self.attempts[-1].result if self.attempts else None


def task_response(history: TaskHistory, now: datetime) -> Response:
    """The `task_completion` of a final task."""
    status = _STATUS[history.decision.state]
    return _message(history, MessageType.TASK_COMPLETION, status, _completion(history, now), now)


def _message(
    history: TaskHistory,
    kind: MessageType,
    status: Status,
    payload: CompletionPayload | EscalationPayload,
    now: datetime,
) -> Response:
    """What is said about one task, to whom its plan came from."""
    return Response(
        timestamp=now,
        sender=history.role,
        receiver=history.plan.sender,
        message_type=kind,
        correlation_id=history.plan.correlation_id,
        status=status,
        payload=payload.model_dump(mode="json"),
        metrics=metrics_of(history.attempts),
    )


def metrics_of(attempts: Sequence[AttemptRecord]) -> Metrics:
    """Seconds, dollars and tokens of all attempts."""
    used = used_so_far(attempts)
    return Metrics(
        duration_seconds=round(sum(attempt.seconds for attempt in attempts), 3),
        cost_usd=round(used.cost_usd, 9),
        tokens_used=used.tokens_used,
    )


def costs_of(task: Task, attempts: Sequence[AttemptRecord]) -> list[AgentCost]:
    """One entry per model that the task's attempts called."""
    return [AgentCost(model=model, task=task.title, usage=usage) for model, usage in used_by_model(attempts).items()]


def main_agent_costs(plan: Plan, told: Sequence[EscalationTold]) -> list[AgentCost]:
    """What the main agent used itself: on planning, and on the answers that it gave."""
    own = [plan.main_agent, *(one.main_agent for one in told)]
    return [cost_of_main_agent(main) for main in own if main is not None]


def plan_response(
    plan: Plan, answers: Sequence[tuple[Task, Response]], costs: Sequence[AgentCost], now: datetime
) -> Response:
    """The `plan_completion` of a plan whose tasks are all final; `answers` in the plan's order."""
    seconds = [answer.metrics.duration_seconds for _, answer in answers]
    payload = PlanCompletionPayload(
        plan_id=plan.id,
        tasks=[
            TaskAnswer(
                task_id=task.id, ref=task.ref, status=answer.status, payload=answer.payload, metrics=answer.metrics
            )
            for task, answer in answers
        ],
        warnings=plan.warnings,
        agent_costs=agent_costs(costs),
    )
    elapsed = max(0.0, (now - plan.admitted_at).total_seconds())
    return Response(
        timestamp=now,
        sender="haikud",
        receiver=plan.sender,
        message_type=MessageType.PLAN_COMPLETION,
        correlation_id=plan.correlation_id,
        status=plan_status([answer.status for _, answer in answers]),
        payload=payload.model_dump(mode="json") | {"time": time_saved(seconds, elapsed)},
        metrics=Metrics(
            duration_seconds=round(elapsed, 3),
            cost_usd=round(sum(answer.metrics.cost_usd for _, answer in answers), 9),
            tokens_used=sum(answer.metrics.tokens_used for _, answer in answers),
        ),
    )


def plan_status(statuses: Sequence[Status]) -> Status:
    """All alike: that. Some succeeded: partial. None did: failure."""
    if len(set(statuses)) == 1:
        return statuses[0]
    return Status.PARTIAL if Status.SUCCESS in statuses else Status.FAILURE


def escalation_message(history: TaskHistory, question: Question, number: int, now: datetime) -> Response:
    """`escalations/REF.json`: the guide's blocked report in its envelope."""
    task = history.task
    result = history.last_result
    issue_number, issue_url = _issue(task, result)
    escalation_id = name_escalation(task.ref, number)
    payload = EscalationPayload(
        escalation_id=escalation_id,
        ref=task.ref,
        title=task.title,
        issue_number=issue_number,
        issue_url=issue_url,
        reason=question.reason,
        blocker=question.blocker or question.reason,
        error_details=question.error_details,
        context=question.context,
        options=question.options,
        recommendation=question.recommendation,
        cost_so_far=round(used_so_far(history.attempts).cost_usd, 9),
        branch=task.branch,
        worktree=relative_worktree(task),
        log_file=history.log_file,
        answer_with=(
            f'haikud answer {task.ref} "TEXT", or drop guidance/{task.ref}.txt with the text, '
            f'or guidance/{task.ref}.json with {{"escalation_id": "{escalation_id}", '
            '"action": "continue|retry|reassign|cancel", "guidance": "TEXT"}'
        ),
        error_report=result.error_report if result else None,
    )
    return _message(history, MessageType.ESCALATION, Status.BLOCKED, payload, now)


def relative_worktree(task: Task, made: str | None = None) -> str | None:
    """The worktree as the answer shows it: relative to the repository where it lies beneath it.

    `made`: the one that an operation has made, for a task that has none of its own.
    """
    path = task.worktree or made
    if path is None or task.repository is None:
        return path
    worktree = Path(path)
    return (
        str(worktree.relative_to(task.repository.path))
        if worktree.is_relative_to(task.repository.path)
        else str(worktree)
    )


def _completion(history: TaskHistory, now: datetime) -> CompletionPayload:
    task, result = history.task, history.last_result
    evidence = (result.evidence if result else None) or history.evidence
    issue_number, issue_url = _issue(task, result)
    report = None
    if history.decision.state is not TaskState.SUCCEEDED:
        report = _last_word(result.error_report, history.decision) if result and result.error_report else None
        report = report or engine_report(
            task,
            history.decision,
            agent_id=f"{history.role}-{history.decision.attempt}",
            log_file=history.log_file,
            now=now,
        )
    costs = costs_of(task, history.attempts)
    if not history.plan.answers_as_plan:  # else they are in the plan's answer
        costs = [*main_agent_costs(history.plan, history.told), *costs]
    began = history.decision.attempt > 0  # before that there is neither branch nor worktree
    worktree = None
    if began and (evidence is None or evidence.worktree is not None):
        worktree = relative_worktree(task, evidence.worktree if evidence else None)
    return CompletionPayload.model_validate(
        {
            **_own_fields(task, history.decision, result),
            "issue_number": issue_number,
            "issue_url": issue_url,
            "branch": (evidence.branch if evidence else None) or (task.branch if began else None),
            "worktree": worktree,
            "commits": evidence.commits if evidence else 0,
            "tests_passing": evidence.tests_passing if evidence else None,
            "files_changed": evidence.files_changed if evidence else [],
            "repository": task.repository.path if task.repository else None,
            "summary": result.summary if result else "",
            "attempts": history.decision.attempt,
            "warnings": [*history.plan.warnings, *(result.warnings if result else [])],
            "agent_costs": agent_costs(costs),
            "escalations": with_costs(history.told, used_so_far(history.attempts).cost_usd),
            "evidence": evidence,
            "error_report": report,
        }
    )


def _last_word(report: ErrorReport, decision: Decision) -> ErrorReport:
    """The report of a task's last attempt, which could not know that it was the last one."""
    steps = report.next_steps
    if decision.state is not TaskState.FAILED or steps.requires_escalation:
        return report
    cure = steps.suggested_action.partition("; the task goes on")[0].rstrip(".")
    again = f"haikud retry {decision.ref}"
    action = cure.removesuffix(", then retry the task")
    action = again if action.startswith("Nothing") or not action else f"{action}; then {again}"
    steps = NextSteps(requires_escalation=True, reason=decision.reason, suggested_action=action)
    return report.model_copy(update={"next_steps": steps})


def _own_fields(task: Task, decision: Decision, result: Result | None) -> JsonObject:
    """What an operation or a command agent answers beside the standard fields; it never replaces one of those."""
    own = result.payload if result else {}
    fields = {n: value for n, value in own.items() if n not in CompletionPayload.model_fields and n != "success"}
    return fields if task.operation is None else {"success": decision.state is TaskState.SUCCEEDED, **fields}


def _issue(task: Task, result: Result | None) -> tuple[int | None, str | None]:
    if result is None:
        return task.issue_number, None
    number, url = result.issue_number, result.issue_url
    if task.operation is not None:  # an operation on issues answers with the issue itself
        number = number if number is not None else _whole_number(result.payload.get("issue_number"))
        own_url = result.payload.get("issue_url")
        url = url or (own_url if isinstance(own_url, str) else None)
    return (number if number is not None else task.issue_number), url


def _whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
