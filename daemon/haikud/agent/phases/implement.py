"""implement: whoever does the work. An operation that needs no model, a role's command, or the built-in agent."""

from __future__ import annotations

from functools import partial

from haikud.agent.attempt import Attempt
from haikud.agent.command_agent import run_command_agent
from haikud.agent.endings import Deferred, Escalated, Failed, Paused
from haikud.agent.errors import AgentError
from haikud.agent.haiku.context import ContextFile, context_report, gather_context
from haikud.agent.haiku.order import HaikuEnd, HaikuOrder
from haikud.agent.interventions import Watchman
from haikud.contracts.attempt import FailureClass, Question
from haikud.contracts.error_report import ErrorType


def needs_built_in_agent(attempt: Attempt) -> bool:
    """Whether the built-in agent will run; its libraries are loaded before the attempt begins."""
    return attempt.spec.role.command is None and not attempt.is_operation


def implement(attempt: Attempt) -> None:
    """Have the work done. Raises what is not "done"."""
    if attempt.is_operation:
        from haikud.agent.operations.operate import operate

        attempt.events.busy(attempt.spec.limits.attempt_seconds)  # its steps have limits of their own, and no turns
        operate(attempt)
    elif attempt.spec.role.command is not None:
        run_command_agent(attempt)
    else:
        _run_built_in(attempt)


def _run_built_in(attempt: Attempt) -> None:
    from haikud.agent.haiku.session import meter_of, run_haiku

    watchman = Watchman(attempt)
    order = _order(attempt, watchman)
    meter = meter_of(order)
    try:
        end = run_haiku(order, meter)
    finally:  # also where the machine or a bug ends it
        attempt.usage = meter.usage
        attempt.usage_by_model = meter.usage_by_model
    attempt.summary = end.summary
    if end.kind == "intervened":
        raise watchman.ending()
    _judge(attempt, end)


def _order(attempt: Attempt, watchman: Watchman) -> HaikuOrder:
    dependencies = attempt.paths.dependencies
    return HaikuOrder(
        spec=attempt.spec,
        assignment=attempt.assignment,
        worktree=attempt.worktree,
        transcript=attempt.task_paths.transcript,
        log=attempt.log,
        events=attempt.events,
        api_key=attempt.api_key,
        environment=attempt.environment,
        dependencies_file=dependencies if dependencies.exists() else None,
        read_orders=attempt.read_orders,
        stop=attempt.stop,
        account=attempt.account,
        sandbox=attempt.sandbox,
        at_turn=watchman.at_turn,
        cuts_call=watchman.cuts_call,
        gather_context=partial(_gather, attempt),
        resume_note=attempt.spec.resume_note,
    )


def _gather(attempt: Attempt) -> list[ContextFile]:
    """The files for a conversation that begins; one that goes on has had them. What was left out is said."""
    names = attempt.assignment.context.files
    if not names:
        return []
    most = attempt.spec.context.max_tokens
    files = gather_context(attempt.worktree, names, most, attempt.copied)
    report = context_report(files, most)
    attempt.payload["context_files"] = report
    attempt.log.line(f"context: {len(report['included'])} of {len(files)} file(s), about {report['tokens']} tokens")
    for one in files:
        if one.text is None and most:
            attempt.warn(f"context.files: {one.path} was left out ({one.why}); the agent knows its name")
    return files


def _judge(attempt: Attempt, end: HaikuEnd) -> None:
    """From how the loop ended to how the attempt goes on."""
    if end.kind == "done":
        return
    if end.kind == "stopped":
        attempt.check_stop()
    if end.kind == "paused":
        raise Paused(attempt.read_orders().reason or "the task was paused")
    if end.kind == "quota" and end.quota is not None:
        raise Deferred(end.quota)
    if end.kind == "escalated":
        raise Escalated(end.question or Question(reason="The agent escalated without saying why"))
    raise Failed(end.error or _unexplained(end), end.question, end.purse)


def _unexplained(end: HaikuEnd) -> AgentError:
    if end.kind == "budget":
        return AgentError(
            ErrorType.BUDGET_EXCEEDED,
            "BUDGET_EXCEEDED",
            "The next model call could cross the budget",
            failure_class=FailureClass.BUDGET,
        )
    return AgentError(ErrorType.AGENT_ERROR, end.kind.upper(), f"The agent ended: {end.kind}")
