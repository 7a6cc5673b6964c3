"""The runner: five phases, one result, and an attempt's place in order afterwards, whatever happens.

An attempt ends in one of four ways: its last phase is done; a phase raised an Ending; the machine refused something
(ENVIRONMENT); something unexpected happened, which is logged with its traceback and reported as RUNNER_BUG. In all of
them the agent's tree is ended, its commits are taken over, the worktree gets its own `.git` back, and result.json is
written, into a place that was reserved before anything was done. TERM only sets `stop`; the phases look at it, and what
it means stands in orders.json. Work that is not committed then stays in the worktree as it is.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from haikud.agent.attempt import Attempt
from haikud.agent.charges import Charges
from haikud.agent.endings import Ending, Failed
from haikud.agent.errors import AgentError
from haikud.agent.events import EventLog
from haikud.agent.gateway_account import GatewayAccount
from haikud.agent.hindrances import ending_after
from haikud.agent.interventions import checkpoint
from haikud.agent.phases.deliver import deliver
from haikud.agent.phases.implement import implement, needs_built_in_agent
from haikud.agent.phases.report import report
from haikud.agent.phases.setup import set_up
from haikud.agent.phases.validate import validate
from haikud.agent.reports.error_reports import describe_exception
from haikud.agent.result_place import ResultPlace
from haikud.agent.worktree import put_in_order
from haikud.contracts.attempt import Assignment, Result, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.error_report import ErrorType
from haikud.contracts.masking import active_masker, use_masker
from haikud.contracts.states import Phase
from haikud.spool.agent_log import AgentLog, make_up_tokens
from haikud.spool.layout import AttemptPaths, SpoolLayout, TaskPaths
from haikud.spool.models import read_model

EXIT_BUG = 70

_ACCOUNT_SECONDS = 10.0
"""That a gateway which is away is waited for at an attempt's end: it is started again at once."""

_PHASES: tuple[tuple[Phase, int, str, Callable[[Attempt], None]], ...] = (
    (Phase.SETUP, 5, "Preparing the place of work", set_up),
    (Phase.IMPLEMENT, 10, "The agent is at work", implement),
    (Phase.VALIDATE, 80, "Measuring what was done", validate),
    (Phase.DELIVER, 95, "Delivering", deliver),
)


def run_attempt(
    folder: Path,
    api_key: str | None,
    stop: threading.Event,
    tokens: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
) -> int:
    """Run the attempt in that folder; 0 when its result is written, 70 when the runner itself broke on the way.

    Raises OSError where the machine refuses what is needed before there is an attempt, or even the result's place.
    """
    attempt = open_attempt(folder, api_key, stop)
    attempt.tokens, attempt.given = tokens or {}, given or {}
    use_masker(active_masker().without(_names(attempt)))
    place = ResultPlace(attempt.paths)
    _load_all(attempt)
    _say_hello(attempt)
    broke = False
    try:
        ending = _work(attempt)
    except Exception as error:  # noqa: BLE001 -- our bug, whatever it is: reported as one, and the place is put in order
        broke = True
        attempt.say(f"the runner broke:\n{describe_exception(error)}")
        ending = Failed(_runner_bug(error))
    ending = _put_in_order(attempt, ending)
    attempt.sandbox.close()
    _close_account(attempt)
    if ending is None:
        attempt.enter(Phase.REPORT, 100, "Reporting")
    result = report(attempt, ending)
    place.put(result)
    _say_goodbye(attempt, ending, result)
    return EXIT_BUG if broke else 0


def _names(attempt: Attempt) -> list[str]:
    """What an attempt's effects are found by again, and its work."""
    spec = attempt.spec
    order = spec.workspace
    places = [order.repository, order.worktree, order.branch, order.main_branch, *order.merge_refs] if order else []
    return [str(attempt.paths.folder), spec.agent_id, spec.role.name, spec.role.model, *places]


def open_attempt(folder: Path, api_key: str | None, stop: threading.Event) -> Attempt:
    """Read the engine's order. Raises UnreadableFile or FileNotFoundError where it is not there: our bug."""
    paths, task_paths = AttemptPaths(folder), TaskPaths(folder.parent)
    spec, assignment = read_model(paths.spec, Spec), read_model(paths.assignment, Assignment)
    if spec is None or assignment is None:
        raise FileNotFoundError(f"{folder} has no spec.json or no assignment.json")
    log = AgentLog(task_paths.log, spec.limits.log_bytes)
    layout, events = SpoolLayout(folder.parents[3]), EventLog(paths.events)
    account = None
    if spec.gateway is not None and api_key:
        account = GatewayAccount(layout.root, spec.gateway.socket, api_key, Charges(log, events))
    return Attempt(
        spec=spec,
        assignment=assignment,
        layout=layout,
        paths=paths,
        task_paths=task_paths,
        log=log,
        events=events,
        stop=stop,
        api_key=api_key,
        account=account,
        began_at=utc_now(),
    )


def _load_all(attempt: Attempt) -> None:
    """Import what this attempt will need, so that nothing is read from an upgraded package later."""
    if needs_built_in_agent(attempt):
        import haikud.agent.haiku.session
        from haikud.agent.haiku.metering import price_list
        from haikud.agent.haiku.warming import warm_up

        warm_up()  # done already where we are forked
        if attempt.account is None:  # else the gateway knows the prices
            price_list(attempt.spec).load(attempt.spec.role.model)
    if attempt.is_operation:
        import haikud.agent.operations.operate
    if any(file.template for file in attempt.spec.task.files):
        import haikud.roles.templates
    if attempt.spec.sandbox != "none" and attempt.spec.isolation.network != "open":
        import haikud.sandbox.egress.server  # noqa: F401
    gc.freeze()  # what was imported stays: it need not be looked at again
    gc.enable()


def _work(attempt: Attempt) -> Ending | None:
    """Go through the phases; None when all are done."""
    try:
        for phase, percent, message, run in _PHASES:
            attempt.check_stop()
            checkpoint(attempt, phase, built_in=needs_built_in_agent(attempt))
            attempt.enter(phase, percent, message)
            began = time.monotonic()
            try:
                run(attempt)
            finally:
                attempt.phase_seconds[phase.value] = time.monotonic() - began
                attempt.log.flush()
                attempt.log.release()
    except Exception as error:
        ending = ending_after(error)
        if ending is None:
            raise
        if ending is not error:
            attempt.say(f"trouble with the environment:\n{describe_exception(error)}")
        return ending
    return None


def _put_in_order(attempt: Attempt, ending: Ending | None) -> Ending | None:
    """End what runs, take over what is committed. Trouble here counts only where there was none before."""
    try:
        put_in_order(attempt)
    except Exception as error:
        trouble = ending_after(error)
        if trouble is None:
            raise
        if ending is None:
            return trouble
        attempt.warn(f"afterwards: {trouble}")
    return ending


def _close_account(attempt: Attempt) -> None:
    """Take over what the gateway says that the attempt has used. The engine reads it in the journal once more."""
    account = attempt.account
    if account is None:
        return
    if attempt.spec.role.command is not None:
        account.begin()  # what it left running may have called to its own end
    # Whoever ends us with a signal waits for the time of grace, and no longer.
    seconds = attempt.grace / 2 if attempt.stop.is_set() else _ACCOUNT_SECONDS
    if not account.finish(min(seconds, _ACCOUNT_SECONDS)):
        attempt.warn("haikud's gateway could not be asked what the last model calls cost: its journal says it")
    account.close()
    attempt.usage, attempt.usage_by_model = account.charges.total, account.charges.by_model


def _say_hello(attempt: Attempt) -> None:
    spec = attempt.spec
    if spec.spent.tokens_used:
        with suppress(OSError):
            make_up_tokens(attempt.task_paths.log, spec.spent.tokens_used)
    if spec.retry_reason:
        attempt.log.fact(f"retry {spec.attempt}/{spec.retry_of or spec.attempt} {spec.retry_reason}")
        attempt.events.retry(f"Attempt {spec.attempt}: {spec.retry_reason}")
    who = " ".join(spec.role.command) if spec.role.command else spec.role.model
    if attempt.is_operation:
        who = f"{spec.task.operation}, without a model"
    attempt.log.line(f"attempt {spec.attempt} of {spec.ref}: {spec.task.title}")
    attempt.log.line(
        f"agent {spec.agent_id} ({who}), haikud {spec.daemon_version}, sandbox {spec.sandbox}, "
        f"budget {spec.budget_usd:.4f} USD"
    )


def _say_goodbye(attempt: Attempt, ending: Ending | None, result: Result) -> None:
    evidence = result.evidence
    commits = f", {evidence.commits} commit(s)" if evidence and attempt.spec.workspace else ""
    seconds = time.monotonic() - attempt.began
    why = f": {ending}" if ending else ""
    attempt.say(f"attempt {attempt.spec.attempt} ended, {result.outcome.value}{why} ({seconds:.1f} s{commits})")
    attempt.events.note(f"Attempt ended: {result.outcome.value}")
    with suppress(OSError):
        attempt.log.close()


def _runner_bug(error: Exception) -> AgentError:
    return AgentError(
        ErrorType.AGENT_ERROR,
        "RUNNER_BUG",
        f"The runner broke: {type(error).__name__}",
        details=describe_exception(error),
        suggested_action="This is a bug of haikud: report it with the end of the log",
    )
