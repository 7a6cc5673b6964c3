"""status.json: the live picture, made from the board. Derived; written at most once a second and only when changed.

What ticks by itself (elapsed times, the estimate of the time left) is no change: it is as of `updated_at`. What it
takes does not grow with the number of tasks: so many are listed and no more, sums are kept, and of those that are
listed only what has changed is made anew. Where making it takes long all the same it is written less often.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import haikud
from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.live import DaemonStatus, GatewayStatus, LiveStatus, TaskStatus
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import OPEN_STATES, Priority, TaskState
from haikud.costs.families import family_of
from haikud.engine.attempts.results import Used
from haikud.engine.board import FINISHED_LATELY, OpenTask, Progress
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.machine.status_file import write_status
from haikud.engine.machine.status_text import StatusText
from haikud.engine.running_costs import Sight, costs_in_sight
from haikud.engine.scheduler import rival_of
from haikud.spool.layout import SpoolLayout

MOST_OPEN = 200
"""Open tasks listed beside those that run."""

SECONDS_BETWEEN = 1.0

_LISTED_FIRST = (TaskState.ESCALATED, TaskState.PAUSED, TaskState.DEFERRED, TaskState.QUEUED, TaskState.WAITING)

_NOTHING_YET = Progress()  # only read: most of those that are listed were never tried

_PRIORITIES = {priority.rank: str(priority) for priority in Priority}

DaemonState = Literal["running", "faulted", "draining", "stopping", "stopped"]


MOST_OF_A_CORE = 0.02
"""Where making the picture takes more of the loop's time than this it is written less often than once a second."""


@dataclass
class StatusWriter:
    """Writes the picture when it has changed."""

    engine: Engine
    started_at: datetime
    watcher: str = ""
    _last: list[bytes] = field(default_factory=list)
    _text: StatusText = field(default_factory=StatusText)
    _known: Known = field(default_factory=dict)
    _sight: Sight = field(default_factory=Sight)
    _due_at: float = float("-inf")

    def due_at(self) -> float:
        """When it may be written next, monotonic seconds."""
        return self._due_at

    async def work(self, *, ended: bool = False) -> None:
        """Write the picture if it changed and a second has passed."""
        engine = self.engine
        now = engine.clock()
        if now < self.due_at() and not ended:
            return
        began = time.thread_time()
        engine.board.forget_pruned(lambda plan_id: is_gone(engine.layout, plan_id))
        status = picture(engine, self.started_at, self.watcher, ended=ended, known=self._known, sight=self._sight)
        parts = self._text.parts(status)
        self._due_at = now + max(SECONDS_BETWEEN, (time.thread_time() - began) / MOST_OF_A_CORE)
        if parts != self._last:
            await engine.aside_or_here(write_status, engine.layout, status, self._text.text(status))
            self._last = parts


Known = dict[str, tuple[tuple[object, ...], TaskStatus]]
"""Ref -> how a task that does not run was shown last, and what of it the board said then."""


def is_gone(layout: SpoolLayout, plan_id: str) -> bool:
    """Whether a plan was pruned, wholly: its tombstone alone may yet be taken back."""
    return os.path.lexists(layout.pruned / plan_id) and not os.path.lexists(layout.plan(plan_id).folder)


def picture(
    engine: Engine,
    started_at: datetime,
    watcher: str,
    *,
    ended: bool = False,
    known: Known | None = None,
    sight: Sight | None = None,
) -> LiveStatus:
    """The whole picture as it is now. `known` and `sight` hold what is not made anew, for the next one."""
    board, now = engine.board, utc_now()
    running = board.in_state(TaskState.RUNNING)
    others: list[OpenTask] = []
    for state in _LISTED_FIRST:
        others += board.first_in_state(state, MOST_OPEN - len(others))
    shown = [*running, *others]
    finished = [task for task in board.finished if task.ref not in board.tasks]  # a retried one is open again
    finished = [*finished, *board.finished_before.values()][:FINISHED_LATELY]
    counts = {str(state): board.count(state) for state in OPEN_STATES}
    counts |= {str(state): board.finished_counts.get(state, 0) for state in TaskState if state not in OPEN_STATES}
    paused = engine.queue.paused and engine.pause_seconds_left() != 0
    live_cost = sum(entry.progress.cost_usd for entry in running)
    gateway = engine.gateway
    return LiveStatus(
        spool_id=engine.spool_id,
        updated_at=now,
        daemon=DaemonStatus(
            pid=os.getpid(),
            version=haikud.__version__,
            state=_state(engine, ended=ended),
            started_at=started_at,
            max_agents=engine.settings.max_agents,
            watcher=watcher,
            sandbox=engine.sandbox or ("unavailable" if engine.sandbox_is_known else "unknown"),
            gateway=GatewayStatus(state=gateway.state, pid=gateway.pid, base_url=gateway.base_url),
        ),
        counts={str(state): counts[str(state)] for state in TaskState},
        paused=engine.queue.reason if paused else None,
        paused_until=engine.queue.until if paused else None,
        paused_kind=engine.queue.kind if paused else None,
        held=held_back(engine),
        trouble=engine.trouble.texts,
        faults=engine.trouble.faults(),
        tasks=_shown(engine, shown, known if known is not None else {}) + finished,
        tasks_left_out=sum(map(board.count, _LISTED_FIRST)) - len(others),
        **costs_in_sight(engine, now, sight),
        cost_usd=round(
            live_cost
            + sum(entry.spent_usd for entry in board.begun.values())
            + sum(task.cost_usd for task in finished),
            9,
        ),
        day_cost_usd=round(engine.day.at(now) + unmetered_usd(engine), 9),
    )


def _shown(engine: Engine, entries: list[OpenTask], known: Known) -> list[TaskStatus]:
    """The open tasks that are listed; `known` then holds those of them that do not run."""
    tasks, kept = [], {}
    for entry in entries:
        if entry.state is TaskState.RUNNING:
            tasks.append(task_status(engine, entry))
            continue
        so_far = entry.progress_so_far
        used = (so_far.cost_usd, so_far.sonnet_cost_usd, so_far.tokens_used, so_far.model) if so_far else None
        money = (entry.spent_usd, entry.spent_sonnet_usd, entry.spent_tokens, used)
        says = (entry.decision, entry.role, entry.model, entry.raised, _reason(engine, entry), money)
        before = known.get(entry.ref)
        if before is None or before[0] != says:
            before = (says, task_status(engine, entry))
        kept[entry.ref] = before
        tasks.append(before[1])
    known.clear()
    known.update(kept)
    return tasks


def task_status(engine: Engine, entry: OpenTask) -> TaskStatus:
    """One open task."""
    decision, progress = entry.decision, entry.progress_so_far or _NOTHING_YET
    is_running = entry.state is TaskState.RUNNING
    model = progress.model or entry.model
    return TaskStatus(
        ref=entry.ref,
        plan=entry.owner.id,
        title=entry.title,
        state=str(entry.state),
        role=entry.role,
        priority=_PRIORITIES[entry.candidate.rank[0]],
        attempt=decision.attempt,
        phase=progress.phase if is_running else None,
        percent=progress.percent if is_running else None,
        message=progress.message if is_running else "",
        reason=_reason(engine, entry),
        model=model,
        model_family=family_of(model),
        cost_usd=round(entry.spent_usd + progress.cost_usd, 9),
        sonnet_cost_usd=round(entry.spent_sonnet_usd + progress.sonnet_cost_usd, 9),
        tokens_used=entry.spent_tokens + progress.tokens_used,
        since=decision.at,
        raised=entry.raised if entry.state is TaskState.ESCALATED else 0,
        started_at=decision.at if is_running else None,
        retry_at=decision.retry_at,
        branch=entry.branch,
        pid=engine.launcher.pid_of(entry.ref, decision.attempt) if is_running else None,
        interventions=list(entry.seen) if is_running else [],
        undeclared_files=list(progress.watch.undeclared) if is_running else [],
    )


def finished_status(plan: Plan, task: Task, decision: Decision, used: Used) -> TaskStatus:
    """A task that had finished when this daemon began, of a plan that had not."""
    return TaskStatus(
        ref=task.ref,
        plan=plan.id,
        title=task.title,
        state=str(decision.state),
        role=decision.role or task.role,
        priority=str(task.priority),
        attempt=decision.attempt,
        percent=100 if decision.state is TaskState.SUCCEEDED else None,
        reason=decision.reason,
        model=used.model if used.began else None,
        model_family=family_of(used.model),
        cost_usd=round(used.usage.cost_usd, 9),
        sonnet_cost_usd=round(used.usage.sonnet_cost_usd, 9),
        tokens_used=used.usage.tokens_used,
        since=decision.at,
        branch=task.branch,
    )


def _reason(engine: Engine, entry: OpenTask) -> str:
    if entry.ordered_end is not None:
        return f"ending: {entry.ordered_end.reason}"
    if entry.pause_token is not None:
        return "asked to pause: at its next turn, a command agent when it ends"
    if entry.intervention is not None:
        return f"a monitor pauses it at its next turn: {entry.intervention.message}"
    if entry.state is TaskState.QUEUED and entry.waits_for:  # for whom it waits by now may be another one
        running = (one.candidate for one in engine.board.in_state(TaskState.RUNNING))
        if rival := rival_of(entry.candidate, running):
            return f"waits for {rival}, which declares the same file"
    if entry.state is TaskState.QUEUED and engine.sandbox_is_known and engine.sandbox is None:
        return "no sandbox that the settings allow works here: nothing is run"
    return entry.decision.reason


def _state(engine: Engine, *, ended: bool) -> DaemonState:
    if ended:
        return "stopped"
    if engine.stopping.now or engine.stopping.detached.is_set():
        return "stopping"
    if engine.stopping.draining:
        return "draining"
    return "faulted" if engine.trouble.holds_work else "running"


def unmetered_usd(engine: Engine) -> float:
    """What running attempts have spent so far that have no gateway; of the others the day's sum tells."""
    return sum(
        entry.progress.cost_usd
        for entry in engine.board.in_state(TaskState.RUNNING)
        if attempt_name(entry.ref, entry.decision.attempt) not in engine.gateway.tokens
    )


def in_a_line(engine: Engine) -> str:
    """All of it in a line, for who started the daemon."""
    board = engine.board
    waiting = sum(board.count(state) for state in (TaskState.WAITING, TaskState.QUEUED, TaskState.DEFERRED))
    questions, paused = board.count(TaskState.ESCALATED), board.count(TaskState.PAUSED)
    state = _state(engine, ended=False)
    counts = [
        *([] if state in {"running", "faulted"} else [state]),
        *([f"{count} running"] if (count := board.count(TaskState.RUNNING)) else []),
        *([f"{waiting} waiting"] if waiting else []),
        *([f"{paused} paused"] if paused else []),
        *([f"{questions} question{'s' if questions > 1 else ''}"] if questions else []),
    ]
    why = [engine.settings_fault] if engine.settings_fault else []
    if engine.queue.paused and engine.pause_seconds_left() != 0:
        why.append(f"the queue is paused: {engine.queue.reason}")
    return "; ".join([", ".join(counts) or "idle", *why, *engine.trouble.texts])


def held_back(engine: Engine) -> str | None:
    """Why nothing new starts, beside a pause and faults."""
    count, most = engine.board.count(TaskState.ESCALATED), engine.settings.max_open_escalations
    if count < most:
        return None
    return f"{count} questions are open, and max_open_escalations is {most}: only what is answered goes on"
