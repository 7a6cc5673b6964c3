"""A plan: a request after normalising. `plans/PLAN/plan.json` holds one and never changes."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.ids import Id, Ref
from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.routing import RoutingAdvice
from haikud.contracts.states import Priority


class RequestShape(StrEnum):
    """The five shapes of a request that are accepted."""

    TASK_REQUEST = "task_request"  # the envelope with payload.task and payload.context
    TASK_PLAN = "task_plan"  # `task_plan:` with several tasks
    PLAN_FILE = "plan_file"  # the small {task_id, title, files, steps}
    AGENT_REQUEST = "agent_request"  # {agent, task, params}: a role's operation
    TEMPLATE_REQUEST = "template_request"  # {template, variables}


class FileSpec(Model):
    """A file that a task declares. The path is relative and stays beneath the worktree."""

    path: str
    operation: str | None = None  # create, modify, delete, ... : the guide's word, a hint to the agent
    template: str | None = None  # a known one is copied in before the agent starts


class TaskContext(Model):
    """What a task's agent is told about the project (the guide's `payload.context`)."""

    project_type: str | None = None
    test_command: str | None = None
    lint_command: str | None = None
    setup_command: str | None = None
    optional_test_commands: list[str] = Field(default_factory=list)  # their failures are warnings
    files: list[str] = Field(default_factory=list)  # worth reading; paths relative to the worktree
    extra: JsonObject = Field(default_factory=dict)


class RepositoryAtAdmission(Model):
    """What admission asked git: where the repository is and which commit the branch will start at."""

    path: str  # absolute path of the checkout's top level (or of a bare repository)
    git_common_dir: str  # absolute
    main_branch: str  # MAIN_BRANCH
    base_sha: str  # its head at admission


class Task(Model):
    """One unit of work: one branch, one worktree, one agent."""

    id: Id
    ref: Ref
    title: str
    description: str = ""
    type: str = "feature"
    priority: Priority = Priority.MEDIUM
    dependencies: list[Id] = Field(default_factory=list)  # task ids of the same plan
    role: str = "parallel-task-executor"
    operation: str | None = None  # an agent request's `task`: the role's operation
    params: JsonObject = Field(default_factory=dict)
    files: list[FileSpec] = Field(default_factory=list)
    steps: list[str] = Field(default_factory=list)
    optional_steps: list[int] = Field(default_factory=list)  # places in `steps`, from 1: may be left undone
    tests: list[str] = Field(default_factory=list)
    success_criteria: list[str] = Field(default_factory=list)
    context: TaskContext = Field(default_factory=lambda: TaskContext.model_validate({}))
    issue_number: int | None = None
    issue_from: str | None = None  # a reference to another task's result: issue_number once the task starts
    model: str | None = None  # a name of the settings' `models`, or a model id
    workspace: Literal["worktree", "none"] = "worktree"
    repository: RepositoryAtAdmission | None = None  # None only where workspace is "none" and the role needs none
    branch: str | None = None  # feature/REF
    worktree: str | None = None  # absolute path
    max_cost_usd: float | None = Field(None, ge=0)
    advice: RoutingAdvice | None = None  # what routing thought; None: it was off, or there is no model to choose


class Plan(Model):
    """One admitted request. `tasks` has at least one member, in the order of the request."""

    format: Literal[1] = 1
    id: Id
    shape: RequestShape
    sender: str = "main-agent"
    correlation_id: str
    admitted_at: Timestamp
    token: str  # of the taken file: recovery drops a taken file whose token is recorded
    content_sha256: str  # of the bytes as dropped
    request_file: str  # request.json or request.yaml, beside plan.json
    dropped_as: str  # the file's name in incoming/
    tasks: list[Task] = Field(min_length=1)
    metadata: JsonObject = Field(default_factory=dict)
    main_agent: MainAgentCost | None = None  # what `metadata.main_agent` says, priced
    extra: JsonObject = Field(default_factory=dict)  # unknown fields: JSON Pointer -> value
    warnings: list[str] = Field(default_factory=list)

    def task(self, task_id: str) -> Task:
        """The task of that id; KeyError where the plan has none."""
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise KeyError(task_id)

    @property
    def answers_as_plan(self) -> bool:
        """Whether the answer is a `plan_completion` (shape 2) and not a `task_completion`."""
        return self.shape is RequestShape.TASK_PLAN
