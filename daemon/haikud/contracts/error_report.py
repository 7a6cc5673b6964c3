"""The guide's "standard error report", field by field."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from haikud.contracts.base import JsonObject, Model, Timestamp


class Severity(StrEnum):
    """The guide's four."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ErrorType(StrEnum):
    """The guide's four, and what else can end a task."""

    TEST_FAILURE = "test_failure"
    BUILD_ERROR = "build_error"
    DEPENDENCY_ERROR = "dependency_error"
    GIT_ERROR = "git_error"
    API_ERROR = "api_error"
    BUDGET_EXCEEDED = "budget_exceeded"
    TIMEOUT = "timeout"
    INVALID_REQUEST = "invalid_request"
    AGENT_ERROR = "agent_error"
    INTERRUPTED = "interrupted"


class ErrorDetail(Model):
    """What went wrong. `code` is a short constant such as TEST_FAILURE."""

    message: str
    code: str
    details: str = ""
    stack_trace: str = ""


class FieldFault(Model):
    """One fault of a rejected request."""

    field: str  # JSON Pointer; "" is the whole document
    found: str
    expected: str
    fix: str
    code: str = ""  # a short constant such as BAD_ID


class ErrorContext(Model):
    """What was being attempted, where, with which versions of the tools."""

    operation: str
    command: str | None = None
    working_directory: str | None = None
    environment: JsonObject = Field(default_factory=dict)  # tool -> version
    faults: list[FieldFault] = Field(default_factory=list)  # of a rejected request


class NextSteps(Model):
    """What the reader should do."""

    requires_escalation: bool
    reason: str
    suggested_action: str


class Artifacts(Model):
    """Where to look."""

    github_issue: str | None = None
    log_file: str | None = None
    test_report: str | None = None


class ErrorReport(Model):
    """The guide's `error_report`."""

    severity: Severity
    type: ErrorType
    task_id: str
    agent_id: str
    timestamp: Timestamp
    error: ErrorDetail
    context: ErrorContext
    attempted_solutions: list[str] = Field(default_factory=list)
    next_steps: NextSteps
    artifacts: Artifacts = Field(default_factory=lambda: Artifacts.model_validate({}))
