"""The payloads of responses and escalations."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.envelope import Metrics, Status
from haikud.contracts.error_report import ErrorReport
from haikud.contracts.evidence import Evidence
from haikud.contracts.ids import Ref
from haikud.contracts.main_agent import MainAgentCost


class EscalationTold(Model):
    """A question of the task's and its answer, in the task's answer: what both halves of the work cost."""

    escalation_id: str
    asked_at: Timestamp
    reason: str
    cost_so_far: float = 0.0  # of the task, when it was asked
    answered_at: Timestamp | None = None
    action: str | None = None
    guidance: str = ""
    role: str | None = None
    model: str | None = None
    metadata: JsonObject = Field(default_factory=dict)  # that came with the answer
    main_agent: MainAgentCost | None = None  # what the answer cost the main agent itself
    warnings: list[str] = Field(default_factory=list)  # what of the answer's metadata could not be used
    cost_since: float = 0.0  # from then until the next question, or the end


class CompletionPayload(Model):
    """A task's answer. The guide's seven fields first; all of them from evidence, never from the model's words.

    An operation's own fields (`success`, `issue_number`, `issue_url`, ...) stand beside them.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    issue_number: int | None = None
    issue_url: str | None = None
    branch: str | None = None
    worktree: str | None = None  # relative to the repository where it lies beneath it, else absolute
    commits: int = 0
    tests_passing: bool | None = None
    files_changed: list[str] = Field(default_factory=list)
    repository: str | None = None
    summary: str = ""  # the agent's own words
    attempts: int = 0
    warnings: list[str] = Field(default_factory=list)
    agent_costs: JsonObject | None = None
    escalations: list[EscalationTold] = Field(default_factory=list)
    evidence: Evidence | None = None
    error_report: ErrorReport | None = None


class TaskAnswer(Model):
    """One task in a plan's answer."""

    task_id: str
    ref: Ref
    status: Status
    payload: JsonObject
    metrics: Metrics


class PlanCompletionPayload(Model):
    """The answer to a request of shape 2."""

    plan_id: str
    tasks: list[TaskAnswer]
    warnings: list[str] = Field(default_factory=list)
    agent_costs: JsonObject | None = None


class EscalationPayload(Model):
    """`escalations/REF.json`, payload: the guide's blocked report."""

    escalation_id: str  # REF.eN: what guidance names
    ref: Ref
    title: str
    issue_number: int | None = None
    issue_url: str | None = None
    reason: str
    blocker: str
    error_details: str = ""
    context: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    recommendation: str = ""
    cost_so_far: float = 0.0
    open_since: Timestamp | None = None  # when it was first put into escalations/; None: nobody has seen it yet
    raised: int = 0  # how often it was put there again since, unanswered
    branch: str | None = None
    worktree: str | None = None
    log_file: str | None = None
    answer_with: str  # how to answer, in words
    error_report: ErrorReport | None = None
