"""The guide's error report, field by field, from what is known of an attempt."""

from __future__ import annotations

import re
import traceback

from haikud.agent.attempt import Attempt
from haikud.agent.errors import AgentError
from haikud.agent.reports.earlier import what_was_tried
from haikud.agent.reports.environment_facts import environment_facts
from haikud.agent.reports.held_back import held_back_hint
from haikud.contracts.attempt import RECOVERABLE
from haikud.contracts.base import utc_now
from haikud.contracts.error_report import (
    Artifacts,
    ErrorContext,
    ErrorDetail,
    ErrorReport,
    ErrorType,
    NextSteps,
    Severity,
)
from haikud.contracts.masking import active_masker
from haikud.contracts.states import Phase

MOST_DETAILS = 8_000
"""Characters of a report's details; the log has the rest."""

_SEVERITIES = {
    ErrorType.API_ERROR: Severity.MEDIUM,
    ErrorType.BUDGET_EXCEEDED: Severity.MEDIUM,
    ErrorType.INTERRUPTED: Severity.LOW,
}

_ACTIONS = {
    ErrorType.TEST_FAILURE: "Main agent should review test failures and determine fix approach",
    ErrorType.BUILD_ERROR: "Review the build's output in the log",
    ErrorType.DEPENDENCY_ERROR: "Run the setup command by hand in the worktree; check the network and the lock file",
    ErrorType.GIT_ERROR: "Look at the repository's state with git status and git worktree list",
    ErrorType.API_ERROR: "Check the key, the model's name and the API's status",
    ErrorType.BUDGET_EXCEEDED: "Raise the budget, or split the task",
    ErrorType.TIMEOUT: "Raise the limit, or split the task",
    ErrorType.INVALID_REQUEST: "Mend the request and drop it again",
    ErrorType.AGENT_ERROR: "Read the log; make the task's description more explicit, or do it with Sonnet",
    ErrorType.INTERRUPTED: "Nothing: the task goes on by itself",
}

_OPERATIONS = {
    Phase.SETUP: "Setting up the worktree",
    Phase.IMPLEMENT: "Running the agent",
    Phase.VALIDATE: "Validating the agent's work",
    Phase.DELIVER: "Delivering the branch",
    Phase.REPORT: "Reporting",
}


def build_error_report(attempt: Attempt, error: AgentError) -> ErrorReport:
    """The report on why the attempt failed."""
    spec = attempt.spec
    permanent = error.failure_class not in RECOVERABLE
    # Only a command's own words: what haikud itself says of git or the machine is not the sandbox's doing.
    hint = held_back_hint(attempt.sandbox.policy.mode, error.details) if error.command else None
    return ErrorReport(
        severity=_SEVERITIES.get(error.type, Severity.HIGH),
        type=error.type,
        task_id=spec.task_id,
        agent_id=spec.agent_id,
        timestamp=utc_now(),
        error=ErrorDetail(
            message=error.message,
            code=error.code,
            details=error.details[-MOST_DETAILS:],
            stack_trace=_stack_trace(error),
        ),
        context=ErrorContext(
            operation=error.operation or _OPERATIONS[attempt.phase],
            command=error.command,
            working_directory=str(attempt.worktree),
            environment=environment_facts(attempt, error.command),
        ),
        attempted_solutions=[*what_was_tried(attempt), *error.attempted],
        next_steps=NextSteps(
            requires_escalation=permanent and error.type is not ErrorType.INTERRUPTED,
            reason=_reason(error, permanent=permanent),
            suggested_action=". ".join(filter(None, (error.suggested_action or _ACTIONS[error.type], hint))),
        ),
        artifacts=Artifacts(
            github_issue=attempt.issue[1] if attempt.issue else None,
            log_file=str(attempt.log_file),
            test_report=error.test_report,
        ),
    )


def _reason(error: AgentError, *, permanent: bool) -> str:
    if error.type is ErrorType.TEST_FAILURE:
        return "Test failures indicate actual bugs, not transient errors"
    if permanent:
        return "Trying the same again is not expected to help"
    return "The cause may pass; haikud tries again by itself, but not for ever"


def _stack_trace(error: AgentError) -> str:
    """The lines of a test's output that look like a trace of calls."""
    if error.type is not ErrorType.TEST_FAILURE:
        return ""
    trace = [line for line in error.details.splitlines() if re.match(r'\s+at .+[:(]\d+|\s*File "|.*\.\w+:\d+: ', line)]
    return "\n".join(trace[:50])


def describe_exception(error: BaseException) -> str:
    """A traceback for the log, without secrets that have got into a message."""
    return active_masker().text("".join(traceback.format_exception(error)))
