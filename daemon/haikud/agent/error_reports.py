"""The guide's error report, field by field, from what is known of an attempt.

The versions of the tools that the task's commands use are asked only here, when something has failed, each with a
short limit: a report without a version is better than a report that is late.
"""

from __future__ import annotations

import platform
import re
import shutil
import traceback

from haikud import __version__
from haikud.agent.attempt import Attempt
from haikud.agent.earlier import what_was_tried
from haikud.agent.errors import AgentError
from haikud.contracts.attempt import RECOVERABLE
from haikud.contracts.base import JsonObject, utc_now
from haikud.contracts.error_report import (
    Artifacts,
    ErrorContext,
    ErrorDetail,
    ErrorReport,
    ErrorType,
    NextSteps,
    Severity,
)
from haikud.contracts.states import Phase
from haikud.sandbox.commands import CannotStart, run_command

VERSION_SECONDS = 3.0
MOST_VERSIONS = 5
MOST_DETAILS = 8_000
"""Characters of a report's details; the log has the rest."""

_TOOLS = {
    "node": "node",
    "npm": "npm",
    "npx": "npm",
    "yarn": "yarn",
    "pnpm": "pnpm",
    "bun": "bun",
    "deno": "deno",
    "pytest": "pytest",
    "pip": "pip",
    "uv": "uv",
    "ruff": "ruff",
    "mypy": "mypy",
    "cargo": "cargo",
    "make": "make",
    "gcc": "gcc",
    "ruby": "ruby",
    "mvn": "mvn",
    "php": "php",
}
"""Words of a command -> the tool whose `--version` is asked."""

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
            environment=tool_versions(attempt, error.command),
        ),
        attempted_solutions=[*what_was_tried(attempt), *error.attempted],
        next_steps=NextSteps(
            requires_escalation=permanent and error.type is not ErrorType.INTERRUPTED,
            reason=_reason(error, permanent=permanent),
            suggested_action=error.suggested_action or _ACTIONS[error.type],
        ),
        artifacts=Artifacts(
            github_issue=attempt.issue[1] if attempt.issue else None,
            log_file=str(attempt.log_file),
        ),
    )


def tool_versions(attempt: Attempt, command: str | None) -> JsonObject:
    """`git_version`, `python_version` and those of the tools that the task's commands name."""
    versions: JsonObject = {"haikud_version": __version__, "python_version": platform.python_version()}
    context = attempt.spec.task.context
    words = re.findall(
        r"[\w.+-]+",
        " ".join(filter(None, [command, context.test_command, context.lint_command, context.setup_command])),
    )
    tools = dict.fromkeys(["git", *(_TOOLS[word] for word in words if word in _TOOLS)])
    if "npm" in tools or "yarn" in tools or "pnpm" in tools:
        tools = {"git": None, "node": None, **tools}
    for tool in list(tools)[: MOST_VERSIONS + 1]:
        version = None if attempt.stop.is_set() else _ask_version(attempt, tool)
        if version:
            versions[f"{tool}_version"] = version
    return versions


def _ask_version(attempt: Attempt, tool: str) -> str | None:
    path = shutil.which(tool, path=attempt.environment.get("PATH"))
    if path is None:
        return None
    output: list[bytes] = []
    try:
        ended = run_command(
            [path, "--version"],
            cwd="/",
            env=attempt.environment,
            timeout=VERSION_SECONDS,
            grace=0.2,
            on_output=output.append,
            stop=attempt.stop.is_set,
        )
    except (CannotStart, OSError):  # the machine may be why there is a report at all
        return None
    found = re.search(rb"\d+(?:\.\d+)+[\w.+-]*", b"".join(output)[:2000])
    return found[0].decode("ascii", "replace") if found and ended.exit_code == 0 else None


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


def describe_exception(error: BaseException, secret: str | None) -> str:
    """A traceback for the log, without the key, should it have got into a message."""
    text = "".join(traceback.format_exception(error))
    return text.replace(secret, "[key]") if secret else text
