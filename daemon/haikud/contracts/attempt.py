"""What crosses the boundary between engine and runner: files in `plans/PLAN/TASK/attempt-N/`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp
from haikud.contracts.error_report import ErrorReport
from haikud.contracts.evidence import Evidence
from haikud.contracts.gateway import GatewayPlace, Purse
from haikud.contracts.guidance import GivenGuidance
from haikud.contracts.ids import Id, Ref
from haikud.contracts.intervention import Intervention
from haikud.contracts.plan import FileSpec, Task, TaskContext
from haikud.contracts.settings import (
    DEFAULT_MODELS,
    ApiSettings,
    ContextSettings,
    GitHubSettings,
    GitSettings,
    LimitSettings,
    ModelPrice,
    MonitorSettings,
    SandboxSettings,
)
from haikud.contracts.states import AttemptOutcome, Phase
from haikud.contracts.usage import UsageEntry, UsageTotal


class ResolvedRole(Model):
    """A role after finding, reading and narrowing."""

    name: str
    description: str = ""
    prompt: str = ""  # the Markdown body: the agent's system prompt
    tools: list[str] = Field(default_factory=list)  # bash, edit, view, report_progress, escalate
    model: str = ""  # a model id, names resolved
    command: list[str] | None = None  # a command agent's argv; None: the built-in agent
    credential: bool = False  # a command agent that asks for ANTHROPIC_BASE_URL and a key
    workspace: Literal["worktree", "none"] = "worktree"
    operations: list[str] = Field(default_factory=list)  # that run without a model
    source: str = ""  # package, settings or repository


class WorkspaceOrder(Model):
    """Where the attempt works. All paths are absolute."""

    repository: str  # top level of the checkout, or the bare repository
    git_common_dir: str
    branch: str
    worktree: str
    main_branch: str
    base_sha: str  # fixed at admission
    private_git: str  # plans/PLAN/TASK/git
    spool_id: str  # the owner recorded in the repository
    merge_refs: list[str] = Field(default_factory=list)  # branches of the dependencies to start from


class Spec(Model):
    """`spec.json`: the engine's order for one attempt, durable before the decision `running`."""

    format: Literal[1] = 1
    ref: Ref
    plan_id: Id
    task_id: Id
    attempt: int = Field(ge=1)
    agent_id: str  # ROLE-N
    ordered_at: Timestamp
    task: Task
    role: ResolvedRole
    workspace: WorkspaceOrder | None  # None: an empty folder
    limits: LimitSettings
    api: ApiSettings
    git: GitSettings
    monitors: MonitorSettings = Field(default_factory=lambda: MonitorSettings.model_validate({}))
    context: ContextSettings = Field(default_factory=lambda: ContextSettings.model_validate({}))
    accepted_files: list[str] = Field(default_factory=list)  # undeclared ones that a question was about already
    prices: dict[str, ModelPrice] = Field(default_factory=dict)  # the settings' own, by model id
    sonnet_model: str = DEFAULT_MODELS["sonnet"]  # that costs are compared with
    budget_usd: float  # what is left of the tightest budget
    spent: UsageTotal  # by earlier attempts of this task
    fresh: bool = False  # start without the old transcript
    guidance: list[GivenGuidance] = Field(default_factory=list)  # all answers so far, the oldest first
    pass_environment: list[str] = Field(default_factory=list)  # names that the agent gets beyond PATH, HOME, LANG
    set_environment: dict[str, str] = Field(default_factory=dict)  # but what looks secret: the runner is handed that
    withheld_environment: list[str] = Field(default_factory=list)  # named, and kept back all the same: secrets.names
    hidden_files: list[str] = Field(default_factory=list)  # that hold secrets: out of its sight in any folder
    sandbox: str = "none"  # the mode that was found to work here: bwrap, landlock or none
    isolation: SandboxSettings = Field(default_factory=lambda: SandboxSettings.model_validate({}))
    issues: Literal["none", "local", "github"] = "none"  # whether the task gets an issue of its own, and where
    github: GitHubSettings = Field(default_factory=lambda: GitHubSettings.model_validate({}))
    retry_reason: str | None = None  # this attempt is a retry, and why; the runner writes it into the log
    retry_of: int | None = Field(None, ge=1)  # of at most so many attempts
    resume_note: str | None = None  # what to tell an agent whose task had ended before, and was asked for again
    resume_key: str = ""  # what that note is about: an agent that has heard it is not told again
    templates_dir: str | None = None  # the settings': where files[].template are looked for, before the package's
    gateway: GatewayPlace | None = None  # None: model calls go to the API itself (an attempt of an older daemon)
    daemon_version: str = ""


class Assignment(Model):
    """`assignment.json`, TASK_PLAN_FILE: the guide's "simplified subset", all that the agent gets to see."""

    task_id: str
    title: str
    description: str = ""
    type: str = ""
    files: list[str] = Field(default_factory=list)
    file_details: list[FileSpec] = Field(default_factory=list)
    steps: list[str] = Field(default_factory=list)  # those that may be left undone end with "(optional)"
    tests: list[str] = Field(default_factory=list)
    success_criteria: list[str] = Field(default_factory=list)
    operation: str | None = None
    params: JsonObject = Field(default_factory=dict)
    context: TaskContext


class RunnerIdentity(Model):
    """`runner.json`: who holds the claim. A pid alone is never trusted: start time and boot id go with it."""

    pid: int
    start_time: int  # field 22 of /proc/PID/stat, clock ticks since boot
    boot_id: str
    version: str = ""
    cgroup: str = ""  # the attempt's own, where it has one
    began: float | None = None  # when, in seconds since boot: its process may have been forked long before


EXIT_ENVIRONMENT = 74
"""A runner's exit code (EX_IOERR) where the machine refused even the room for result.json."""


class EndOrder(StrEnum):
    """Why the engine ends an attempt; the runner reads it when TERM arrives."""

    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    TIME_LIMIT = "time_limit"


class Orders(Model):
    """`orders.json`: written by the engine (atomically), read by the runner at each turn and on TERM."""

    pause: bool = False
    end: EndOrder | None = None
    reason: str = ""
    intervene: Intervention | None = None  # a monitor's: the attempt ends at its next turn


class EventKind(StrEnum):
    """What a line of events.jsonl says."""

    PHASE = "phase"
    PROGRESS = "progress"
    TOOL = "tool"
    USAGE = "usage"
    RETRY = "retry"
    WAITING = "waiting"  # for the API's limits; `seconds` says how long
    NOTE = "note"
    RESULT = "result"  # of a tool use
    OUTPUT = "output"  # a command agent has printed something
    WAITS = "waits"  # a command agent is there, and has said nothing lately: no sign that it gets on
    FILES = "files"  # what it has changed that the task does not declare


class AttemptEvent(Model):
    """One line of `events.jsonl`; the runner's, relayed by the engine into status.json."""

    at: Timestamp
    kind: EventKind
    phase: Phase | None = None
    percent: int | None = Field(None, ge=0, le=100)
    message: str = ""
    seconds: float | None = None
    usage: UsageEntry | None = None
    clock: float | None = None  # seconds of the runner's machine's monotonic clock
    quiet_seconds: float | None = None  # silence of so long means nothing: what runs has a time limit of its own
    digest: str | None = None  # of a tool use with all its input: the same use, the same digest
    error: str | None = None  # with `result`: what failed, in one line
    error_digest: str | None = None  # of all that it said about that, without times and the like
    tests: Literal["passing", "failing"] | None = None  # with `result`: it was a run of the tests
    undeclared: list[str] | None = None  # with `files`


class Question(Model):
    """What an agent asks when it escalates (the tool `escalate`, or a command agent's exit 79)."""

    reason: str
    blocker: str = ""
    error_details: str = ""
    context: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    recommendation: str = ""


class QuotaStop(Model):
    """The account's limits stopped the attempt, or an outage: the whole queue waits."""

    status: int  # 429, 529 or 402; 502: the API cannot be reached
    message: str
    retry_after_seconds: float


class FailureClass(StrEnum):
    """How policy treats a failed attempt (the guide's error classification)."""

    NETWORK = "network"  # recoverable: 3 attempts, waits of 2 and 4 s
    FILE_LOCK = "file_lock"  # recoverable
    DEPENDENCY_INSTALL = "dependency_install"  # recoverable, with the cache cleared
    TEMPORARY = "temporary"  # recoverable: a command agent's EX_TEMPFAIL
    TEST_FAILURE = "test_failure"  # permanent: an actual bug
    SYNTAX_ERROR = "syntax_error"  # permanent
    MISSING_FILE = "missing_file"  # permanent: a file, a module or a program that is not there
    MERGE_CONFLICT = "merge_conflict"  # permanent
    PERMANENT = "permanent"  # 4xx, refusal, no commit, and what nobody recognises
    BUDGET = "budget"  # escalates with what it has


RECOVERABLE = frozenset(
    {FailureClass.NETWORK, FailureClass.FILE_LOCK, FailureClass.DEPENDENCY_INSTALL, FailureClass.TEMPORARY}
)
"""The guide's recoverable classes: tried again after waits, a bounded number of times."""


class Result(Model):
    """`result.json`: what an attempt reports to the engine, written last, durably."""

    format: Literal[1] = 1
    ref: Ref
    attempt: int
    outcome: AttemptOutcome
    failure_class: FailureClass | None = None  # where the outcome is exited_with_error
    budget_purse: Purse | None = None  # whose budget was used up, with the class `budget`
    exit_code: int | None = None  # a command agent's
    summary: str = ""  # the agent's own words
    payload: JsonObject = Field(default_factory=dict)  # an operation's or a command agent's own fields
    evidence: Evidence | None = None
    question: Question | None = None
    intervention: Intervention | None = None  # why the attempt was ended, where a monitor did that
    quota: QuotaStop | None = None
    error_report: ErrorReport | None = None
    usage: UsageTotal  # of this attempt alone
    usage_by_model: dict[str, UsageTotal] = Field(default_factory=dict)
    issue_number: int | None = None
    issue_url: str | None = None
    warnings: list[str] = Field(default_factory=list)
    began_at: Timestamp
    ended_at: Timestamp
    phase_seconds: dict[str, float] = Field(default_factory=dict)
    last_phase: Phase = Phase.SETUP


class AgentReport(Model):
    """`out/result.json`: what a command agent may write about its own work. Untrusted: words, never facts."""

    summary: str = ""
    reason: str = ""
    blocker: str = ""
    error_details: str = ""
    context: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    recommendation: str = ""
    payload: JsonObject = Field(default_factory=dict)


class AgentProgress(Model):
    """A line of `out/events.jsonl` that a command agent may append."""

    percent: int | None = Field(None, ge=0, le=100)
    message: str = ""
