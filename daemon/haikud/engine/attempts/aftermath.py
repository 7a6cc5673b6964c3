"""What follows a runner's end, off the loop: the claim, the process tree, the result. Nothing is decided here.

Order: revoke the token; take the claim, so that nobody else can be the runner any more; end the tree and prove it
empty; close the account of its model calls; then look for the result. The claim is kept until the attempt is settled.
Whoever still lives after KILL is trouble of the environment: the attempt stays unsettled, and no successor starts
beside the survivor.

One hop for all of it, but for an attempt whose account is closed in between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from haikud.contracts.attempt import EXIT_ENVIRONMENT, EndOrder, FailureClass, Result, WorkspaceOrder
from haikud.contracts.decision import Decision
from haikud.contracts.evidence import Evidence
from haikud.contracts.states import AttemptOutcome
from haikud.contracts.usage import UsageTotal
from haikud.contracts.usage_journal import AttemptUsage
from haikud.engine.attempts.accounting import close_account_of, revoke_token_of
from haikud.engine.attempts.clearing import clear_attempt
from haikud.engine.attempts.results import NO_USAGE, AttemptRecord, read_result, record_of
from haikud.engine.attempts.salvage import left_attached, salvage
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End, EndKind, attempt_name
from haikud.engine.lost import why_lost
from haikud.engine.machine.faults import FAULTS
from haikud.engine.machine.trouble import RETRY_SECONDS
from haikud.engine.policy import Ending
from haikud.sandbox.cgroups import cgroup_name
from haikud.spool.agent_log import make_up_tokens
from haikud.spool.claims import release_claim
from haikud.spool.layout import AttemptPaths
from haikud.spool.leftovers import remove_leftovers, task_folders
from haikud.spool.models import UnreadableFile
from haikud.spool.spending import began_afresh, spent_by_transcript
from haikud.spool.store import Store

_ORDERED = {
    EndOrder.CANCEL: AttemptOutcome.CANCELLED,
    EndOrder.INTERRUPT: AttemptOutcome.INTERRUPTED,
    EndOrder.TIME_LIMIT: AttemptOutcome.TIMED_OUT,
}


@dataclass(frozen=True)
class Aftermath:
    """An attempt that is over and may be settled."""

    ref: str
    attempt: int
    ending: Ending
    usage: UsageTotal = NO_USAGE
    failed_starts: int = 0  # in a row, just before this attempt
    hindered: int = 0  # attempts that the machine stopped, in a row, just before this one
    evidence: Evidence | None = None  # measured here, where the runner could not
    ended: list[str] = field(default_factory=list)  # processes that it had left behind
    owes_fresh: bool = False  # it was to begin a conversation anew, and did not come to that
    claim: int | None = None  # its descriptor, to be closed after settling
    result: Result | None = None  # that can be read
    record: AttemptRecord | None = None  # made of it, where this was the task's first attempt
    is_durable: bool = False  # its runner has lived to say so: a result is not merely seen
    is_metered: bool = False  # its calls went through the gateway: `usage` is the journal's, and the day's sum has it

    @property
    def doing(self) -> str:
        """What settling it is called when it fails."""
        return f"settling {self.ref}"

    def release(self) -> None:
        """Let the claim go."""
        if self.claim is not None:
            release_claim(self.claim)


async def look_after(engine: Engine, entry: OpenTask, end: End) -> Aftermath:
    """See the module's head. Tries again as long as the environment refuses."""
    attempt = entry.decision.attempt
    task_paths = engine.layout.task(entry.ref)
    paths = task_paths.attempt(attempt)
    name = attempt_name(entry.ref, attempt)
    cgroup = cgroup_name(engine.spool_id, name)
    await revoke_token_of(engine, entry)
    examine = partial(
        _examine,
        engine.store,
        entry,
        paths,
        end=end,
        workspace=build_workspace(entry.plan, entry.task, task_paths, engine.spool_id),
    )
    born = entry.born if end.kind is EndKind.EXITED else None
    clear = partial(
        clear_attempt, paths, entry.grace_seconds, cgroup, newcomers=engine.newcomers, born=born, place=end.place
    )
    is_metered = name in engine.gateway.tokens
    while True:
        with engine.trouble.guard(f"ending what {entry.ref} left running"):
            if not entry.lost and not os.path.isdir(task_paths.folder):  # noqa: PTH112, ASYNC240 - for every attempt
                await engine.write(engine.store.put_back, entry.decision, entry.plan)
                entry.lost = why_lost(entry.ref)
            claim, ended, found = await engine.aside(_clear_and_examine, clear, None if is_metered else examine)
            break
        await asyncio.sleep(RETRY_SECONDS)
    used = await close_account_of(engine, entry, paths)
    while True:
        with engine.trouble.guard(f"reading the result of {entry.ref}"):
            if found is None:
                found = await engine.aside(examine, used=used)
            if entry.lost and end.kind is not EndKind.NOT_STARTED:
                found = replace(
                    found, ending=_lost(entry), usage=used.total if used else _used_as_shown(entry), record=None
                )
            return replace(found, ended=ended, claim=claim)
        await asyncio.sleep(RETRY_SECONDS)


def _clear_and_examine(
    clear: Callable[[], tuple[int | None, list[str]]], examine: Callable[[], Aftermath] | None
) -> tuple[int | None, list[str], Aftermath | None]:
    """Clear up, then look for the result, if that is wanted; None also where it could not be looked for now."""
    claim, ended = clear()
    if examine is not None:
        with suppress(*FAULTS):  # the next try says so
            return claim, ended, examine()
    return claim, ended, None


def _lost(entry: OpenTask) -> Ending:
    """Nothing is left to judge by, and nothing to go on from: the task fails, and says why."""
    return Ending(AttemptOutcome.EXITED_WITH_ERROR, FailureClass.PERMANENT, entry.lost)


def _used_as_shown(entry: OpenTask) -> UsageTotal:
    """What the attempt had spent by the last look at its events, of which nothing else is left."""
    seen = entry.progress
    return UsageTotal(cost_usd=seen.cost_usd, sonnet_cost_usd=seen.sonnet_cost_usd, tokens_used=seen.tokens_used)


def judge(  # noqa: C901, PLR0911, PLR0912 - a table
    result: Result | None, broken: str | None, end: End, order: EndOrder | None, *, ref: str, attempt: int, began: bool
) -> Ending:
    """How the attempt ended. Pure. `broken`: why its result cannot be read; `began`: whether the runner ever did."""
    if result is not None and (result.ref, result.attempt) != (ref, attempt):
        broken = f"it is that of {result.ref}, attempt {result.attempt}"
        result = None
    if result is not None and result.outcome is AttemptOutcome.INTERRUPTED and order is not None:
        return Ending(_ORDERED[order], message=_message(result))  # also where the runner could not read why
    if result is not None and result.outcome is AttemptOutcome.INTERRUPTED:
        # Its agent, a person or the system did that, and may do it every time: counted, as a killed runner is.
        return Ending(AttemptOutcome.KILLED, message="the runner was ended by a signal that haikud did not send")
    if result is not None:
        said, caught = _message(result), result.intervention
        purse = result.budget_purse
        return Ending(result.outcome, result.failure_class, said, result.question, result.quota, caught, purse)
    if broken is not None:
        return Ending(AttemptOutcome.BAD_RESULT, message=f"its result cannot be read: {broken}")
    if order is not None:
        return Ending(_ORDERED[order])
    said = end.describe()
    if end.kind is EndKind.LOST:
        return Ending(AttemptOutcome.LOST, message=said)
    if end.kind is EndKind.UNKNOWN:
        return Ending(AttemptOutcome.UNKNOWN, message=said)
    if end.kind is EndKind.NOT_STARTED and end.refused:
        return Ending(AttemptOutcome.ENVIRONMENT, message=said)
    if end.kind is EndKind.NEVER_LAUNCHED and not began:
        return Ending(AttemptOutcome.INTERRUPTED, message=said)
    if end.code == EXIT_ENVIRONMENT:
        return Ending(AttemptOutcome.ENVIRONMENT, message="the machine refused even the room for its result")
    if not began:
        return Ending(AttemptOutcome.FAILED_TO_START, message=f"{said} and never began; its log says more")
    if end.code is not None and end.code < 0:
        return Ending(AttemptOutcome.KILLED, message=said)
    return Ending(AttemptOutcome.ORPHANED, message=f"{said} and left no result")


def count_in_a_row(decisions: Sequence[Decision], outcome: AttemptOutcome) -> int:
    """How many attempts in a row have ended like that by now."""
    count = 0
    for decision in reversed(decisions):
        if decision.outcome is outcome:
            count += 1
        elif decision.outcome is not None:
            break
    return count


def _examine(
    store: Store,
    entry: OpenTask,
    paths: AttemptPaths,
    *,
    end: End,
    workspace: WorkspaceOrder | None,
    used: AttemptUsage | None = None,
) -> Aftermath:
    attempt, task_paths = entry.decision.attempt, store.layout.task(entry.ref)
    if end.code != 0:
        # The runner was cut short, and so was what it was writing; but we may be writing an order to it just now.
        remove_leftovers(task_folders(task_paths.folder), spare=os.getpid())
    result: Result | None = None
    broken: str | None = None
    try:
        result = read_result(paths)
    except UnreadableFile as error:
        broken = error.why
    order = entry.ordered_end.order if entry.ordered_end else None
    began = result is not None or paths.events.exists()
    ending = judge(result, broken, end, order, ref=entry.ref, attempt=attempt, began=began)
    owes_fresh = entry.decision.fresh and not (began and began_afresh(task_paths.transcript, attempt))
    evidence = None
    if workspace is not None and result is None and began:
        evidence = salvage(workspace, entry.task)
    elif workspace is not None and left_attached(workspace):  # the runner could not; its result stands all the same
        salvage(workspace, entry.task)
    if used is not None:
        usage = used.total
    elif result is not None:
        usage = result.usage
    else:
        usage = spent_by_transcript(task_paths.transcript, attempt)[0]
    if result is None or used is not None or ending.outcome is AttemptOutcome.ENVIRONMENT:
        with suppress(OSError):  # the log is for people; the next runner makes up for it too
            make_up_tokens(task_paths.log, entry.spent_tokens + usage.tokens_used)
    decisions = store.decisions(entry.ref) if attempt > 1 else []
    return Aftermath(
        entry.ref,
        attempt,
        ending,
        usage,
        failed_starts=count_in_a_row(decisions, AttemptOutcome.FAILED_TO_START),
        hindered=count_in_a_row(decisions, AttemptOutcome.ENVIRONMENT),
        evidence=evidence,
        owes_fresh=owes_fresh,
        result=result,
        record=record_of(attempt, result, used, ending.outcome) if result is not None and attempt == 1 else None,
        is_durable=end.code == 0,
        is_metered=used is not None,
    )


def _message(result: Result) -> str:
    """One line on how it ended: the report's words before the agent's."""
    if result.error_report is not None:
        return result.error_report.error.message
    if result.question is not None:
        return result.question.reason
    if result.quota is not None:
        return result.quota.message
    return "" if result.outcome is AttemptOutcome.COMPLETED else result.summary.strip().partition("\n")[0][:300]
