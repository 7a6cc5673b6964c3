"""Interventions, on the attempt's side: when it ends because it does not get on, and the facts that go with it.

The engine judges what can be seen over time (loops, errors, tests, silence) and says so in orders.json. What has been
changed is measured here, where the worktree is: now and then, at turn boundaries and before the checks. Either way the
attempt ends as escalated, with a question that holds the facts that a person would look up: the end of the log, `git
status`, the processes. Its worktree and transcript stay, and guidance goes on from there.
"""

from __future__ import annotations

import os
import time

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Intervened, Paused
from haikud.agent.intervention_questions import question_about
from haikud.contracts.attempt import Question
from haikud.contracts.intervention import Intervention, Trigger
from haikud.contracts.states import Phase
from haikud.sandbox.process_table import describe_tree
from haikud.spool.agent_log import escape_text
from haikud.workspace.changes import changed_files, status_lines, unexpected
from haikud.workspace.git import WorkspaceError

LOOK_SECONDS = 2.0
"""Between two looks at what was changed, at least; and all looks take at most a fiftieth of the time."""

ORDERS_SECONDS = 0.5
"""Between two looks at the orders, where there are no turns."""

_PARTS_OF_TIME = 50
_LOG_LINES = 20
_LOG_BYTES = 8192
_STATUS_LINES = 30
_MOST_LINE = 300


class Watchman:
    """Looks after one attempt's agent. `found` is why it is to end, once that is known."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._told: list[str] = []
        self._files_at = time.monotonic() + LOOK_SECONDS
        self._orders_at = 0.0
        self._question: Question | None = None
        self.found: Intervention | None = None

    def at_turn(self) -> bool:
        """Whether the agent is to end at this turn."""
        if self.found is None:
            self.found = self._attempt.read_orders().intervene or self._undeclared()
        return self.found is not None

    def cuts_call(self) -> bool:
        """Whether a model call is to be cut short: one that goes on and on, and says nothing, has no turn."""
        order = self._attempt.read_orders().intervene
        return order is not None and order.trigger is Trigger.SILENCE

    def at_tick(self) -> bool:
        """Whether a command agent is to end now. The facts are gathered while its processes are still there."""
        now = time.monotonic()
        if self.found is None and now >= self._orders_at:
            self._orders_at = now + ORDERS_SECONDS
            if self.at_turn():
                self.question()
        return self.found is not None

    def after_implement(self) -> None:
        """The checkpoint before anything is committed or pushed. Raises Intervened."""
        if self._attempt.spec.monitors.undeclared == "escalate":
            self.found = self._undeclared(now=True)
            if self.found is not None:
                raise self.ending()

    def ending(self) -> Intervened:
        """How the attempt ends."""
        if self.found is None:
            msg = "no intervention was found"
            raise RuntimeError(msg)
        return Intervened(self.found, self.question())

    def question(self) -> Question:
        """The question, with the facts of the moment at which it was first asked for."""
        if self.found is None:
            msg = "no intervention was found"
            raise RuntimeError(msg)
        if self._question is None:
            self._attempt.say(f"a monitor ends the attempt to {self.found.action}: {self.found.message}")
            self._question = question_about(self.found, self._attempt.spec, gather(self._attempt))
        return self._question

    def _undeclared(self, *, now: bool = False) -> Intervention | None:
        attempt = self._attempt
        spec, began = attempt.spec, time.monotonic()
        order = spec.workspace
        declared = [file.path for file in spec.task.files]
        if order is None or attempt.start_sha is None or not declared or spec.monitors.undeclared == "ignore":
            return None
        if not now and began < self._files_at:
            return None
        try:
            changed = changed_files(order, attempt.start_sha, attempt.copied)
        except WorkspaceError:  # the agent is in the middle of something; the checks will measure it
            changed = []
        finally:
            took = time.monotonic() - began
            self._files_at = time.monotonic() + max(LOOK_SECONDS, took * _PARTS_OF_TIME)
        found = unexpected(changed, [*declared, *_paths_among(spec.task.tests)])
        if found != self._told:
            self._told = found
            attempt.events.files(found)
            attempt.say(f"changed, and not declared by the task: {_listed(found) or 'nothing any more'}")
        new = [name for name in found if name not in spec.accepted_files]
        if not new or spec.monitors.undeclared != "escalate":
            return None
        return Intervention(
            trigger=Trigger.UNDECLARED_FILES,
            message=f"changes files that the task does not declare: {_listed(new)}",
            evidence=[f"Changed and not declared: {_listed(new)}", f"Declared: {_listed(declared)}"],
            files=new,
        )


def checkpoint(attempt: Attempt, following: Phase, *, built_in: bool) -> None:
    """Between two phases (the guide's checkpoints). Raises Paused, Intervened.

    A pause is obeyed where going on later costs nothing that was done: before the agent, and after it where it is the
    built-in one, whose transcript says that it is done.
    """
    orders = attempt.read_orders()
    if orders.pause and (built_in or following in {Phase.SETUP, Phase.IMPLEMENT}):
        raise Paused(orders.reason or "the task was paused")
    if orders.intervene is not None and following is Phase.VALIDATE:
        attempt.say(f"a monitor's order came too late, the agent says that it is done: {orders.intervene.message}")
    if following is Phase.VALIDATE and not attempt.is_operation:
        Watchman(attempt).after_implement()


def gather(attempt: Attempt) -> list[str]:
    """The facts that the guide's diagnosis looks up: log, git status, processes. Whatever cannot be had is said."""
    return [*_log_facts(attempt), *_git_facts(attempt), *_process_facts(attempt)]


def _log_facts(attempt: Attempt) -> list[str]:
    attempt.log.flush()
    attempt.log.release()
    try:
        with attempt.task_paths.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = log.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    except OSError as error:
        return [f"The log cannot be read: {error}"]
    shown = [escape_text(line)[:_MOST_LINE] for line in lines[-_LOG_LINES:]]
    return ["\n".join([f"The last lines of {attempt.log_file}:", *shown])]


def _git_facts(attempt: Attempt) -> list[str]:
    order = attempt.spec.workspace
    if order is None:
        return []
    try:
        lines = status_lines(order)
    except WorkspaceError as error:
        return [f"git status in {order.worktree} failed: {error}"]
    if not lines:
        return [f"git status --short in {order.worktree}: nothing has been changed since the attempt began"]
    more = [f"and {len(lines) - _STATUS_LINES} more"] if len(lines) > _STATUS_LINES else []
    shown = [escape_text(line)[:_MOST_LINE] for line in lines[:_STATUS_LINES]]
    head = f"git status --short in {order.worktree}, against the beginning of the attempt:"
    return ["\n".join([head, *shown, *more])]


def _process_facts(attempt: Attempt) -> list[str]:
    try:
        found = describe_tree(str(attempt.paths.out), but=os.getpid())
    except OSError as error:
        return [f"Its processes cannot be looked at: {error}"]
    if not found:
        return [f"No process of it was running but its runner, {os.getpid()}"]
    return ["\n".join(["Its processes (pid, age, command):", *found])]


def _paths_among(words: list[str]) -> list[str]:
    """Those of a task's tests that name a file, as the guide's request does, and not what is to be tested."""
    return [word for word in words if " " not in word.strip() and ("/" in word or "." in word)]


def _listed(names: list[str]) -> str:
    most = 10
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(escape_text(name) for name in names[:most]) + more
