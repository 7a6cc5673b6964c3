"""The five shapes of a request as they are dropped, for editors and other languages: `schemas/request.schema.json`.

Permissive on purpose: unknown fields are allowed everywhere (they are kept and noted), and what can be checked only
with a repository or a catalogue of roles at hand is not checked here. Admission itself does not go by these models: it
reports every fault of a request with its nearest fix, which a schema cannot.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.ids import Id
from haikud.contracts.plan import FileSpec
from haikud.contracts.states import Priority


class _Dropped(Model):
    """Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


Texts = str | list[str]
"""One text, or several."""


class DroppedStep(_Dropped):
    """A step that may be left undone where it fails."""

    step: str = Field(min_length=1)
    optional: bool = False


Steps = str | list[str | DroppedStep]
"""A step, or several; one that ends with "(optional)" may be left undone too."""


class DroppedContext(_Dropped):
    """What an agent is told about the project."""

    repository: str | None = Field(None, description="Absolute path of the checkout to work on")
    project_type: str | None = None
    test_command: str | None = Field(None, description="Must exit 0 on what is committed, or the task fails")
    lint_command: str | None = Field(None, description="Its warnings are reported and do not block")
    optional_test_commands: Texts = Field(
        default_factory=list, description="Run after test_command has passed; a failure is a warning and does not block"
    )
    setup_command: str | None = Field(None, description="Runs in the fresh worktree before the agent starts")
    files: list[str | FileSpec] = Field(default_factory=list, description="Files worth reading")


class DroppedTask(_Dropped):
    """One unit of work. Paths are relative and stay beneath the worktree."""

    title: str = Field(min_length=1)
    description: str = ""
    type: str = "feature"
    priority: Priority = Priority.MEDIUM
    role: str | None = Field(None, description="Which kind of agent: parallel-task-executor by default")
    model: str | None = Field(None, description="A name of the settings' models, or a model id")
    files: list[str | FileSpec] = Field(default_factory=list, description="Files that the task will change")
    steps: Steps = Field(default_factory=list)
    implementation_steps: Steps = Field(default_factory=list, description="Another name of steps")
    tests: Texts = Field(default_factory=list)
    success_criteria: Texts = Field(default_factory=list)
    issue_number: int | str | None = None  # or a reference to another task's result
    max_cost_usd: float | None = Field(None, ge=0)
    context: DroppedContext = Field(default_factory=lambda: DroppedContext.model_validate({}))


class PlanTask(DroppedTask):
    """A task of a plan of several."""

    id: Id
    dependencies: list[Id] = Field(default_factory=list, description="Ids of tasks of the same plan")


class TaskRequestPayload(_Dropped):
    """What a task request asks for."""

    task: DroppedTask
    context: DroppedContext = Field(default_factory=lambda: DroppedContext.model_validate({}))


class TaskRequest(_Dropped):
    """Shape 1: the message envelope with a task."""

    version: str = "1.0"
    timestamp: Timestamp | None = None
    sender: str = "main-agent"
    receiver: str | None = Field(None, description="The role that is to do it")
    message_type: Literal["task_request"]
    correlation_id: str | None = Field(None, description="The plan's id, where no other field states one")
    id: Id | None = None
    payload: TaskRequestPayload


class TaskPlan(_Dropped):
    """Several tasks, with dependencies among them."""

    id: Id | None = None
    tasks: list[PlanTask] = Field(min_length=1)
    metadata: JsonObject = Field(
        default_factory=dict,
        description="Kept; `main_agent` {model, input_tokens, output_tokens} is what planning cost (docs/costs.md)",
    )
    repository: str | None = Field(None, description="Absolute path of the checkout to work on")
    context: DroppedContext = Field(default_factory=lambda: DroppedContext.model_validate({}))


class PlanRequest(_Dropped):
    """Shape 2: a task plan."""

    task_plan: TaskPlan
    id: Id | None = None


class PlanEnvelope(_Dropped):
    """Shape 2 inside the message envelope."""

    message_type: Literal["task_plan"]
    sender: str = "main-agent"
    correlation_id: str | None = None
    payload: PlanRequest | TaskPlan


class PlanFile(DroppedTask):
    """Shape 3: the small plan file."""

    task_id: Id | None = None
    id: Id | None = None
    repository: str | None = Field(None, description="Absolute path of the checkout to work on")


class AgentRequest(_Dropped):
    """Shape 4: one operation of a role."""

    agent: str = Field(min_length=1, description="The role")
    task: str = Field(min_length=1, description="The operation, such as create_issue")
    params: JsonObject = Field(default_factory=dict)
    id: Id | None = None
    repository: str | None = Field(None, description="Absolute path of the checkout to work on")


class TemplateRequest(_Dropped):
    """Shape 5: a template and what to fill it with."""

    template: str = Field(min_length=1)
    variables: JsonObject = Field(default_factory=dict)
    id: Id | None = None
    repository: str | None = Field(None, description="Absolute path of the checkout to work on")


Request = Annotated[
    TaskRequest | PlanRequest | PlanEnvelope | AgentRequest | TemplateRequest | PlanFile,
    Field(description="A request in any of the five shapes"),
]
