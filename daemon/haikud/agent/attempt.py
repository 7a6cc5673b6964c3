"""One attempt while it runs: its order, its files, its log, and what has been found out so far.

The phases share this record and write into it; the report is made from it, however the attempt ends.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from haikud.agent.endings import Stopped
from haikud.agent.events import EventLog
from haikud.agent.gateway_account import GatewayAccount
from haikud.agent.life import SignsOfLife
from haikud.agent.stop import Stop
from haikud.agent.testing.facts import TestFacts
from haikud.contracts.attempt import Assignment, Orders, Spec
from haikud.contracts.evidence import VerificationRun
from haikud.contracts.states import Phase
from haikud.contracts.usage import UsageTotal
from haikud.sandbox.commands import Ended
from haikud.sandbox.isolation import NO_SANDBOX, Sandbox
from haikud.sandbox.prctl import is_subreaper
from haikud.sandbox.process_table import own_children
from haikud.sandbox.trees import end_tree
from haikud.spool.agent_log import AgentLog, escape_text
from haikud.spool.layout import AttemptPaths, SpoolLayout, TaskPaths
from haikud.spool.models import UnreadableFile, read_model
from haikud.workspace.git import Asked
from haikud.workspace.private_git import BegunWorktree
from haikud.workspace.repository_settings import RepositorySettings

TAIL_BYTES = 16_384
"""Of a command's output that are kept for reports."""

TEST_OUTPUT_BYTES = 1_048_576
"""Of a test command's output that are looked through for counts and failures."""


WhoseGit = Literal["none", "repository", "agent", "tests"]
"""What the worktree's `.git` names: nothing is prepared yet; the repository's; the private one, with work of the agent
to take over; or the private one, for the tests, with nothing to take over."""


@dataclass(frozen=True)
class Outcome:
    """How an untrusted command ended, and the last of what it printed."""

    ended: Ended
    tail: str
    log_offset: int
    log_end: int

    @property
    def last_line(self) -> str:
        """Its last line that is not blank."""
        lines = [line.strip() for line in self.tail.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass(frozen=True)
class Tested:
    """What the runs of a test command came to."""

    runs: list[VerificationRun]
    passing: bool
    flaky: bool
    last: Outcome
    facts: TestFacts = field(default_factory=TestFacts)  # as the output and the reports of the last run tell
    reports: list[str] = field(default_factory=list)  # relative to the worktree

    @property
    def timed_out(self) -> bool:
        """Whether the last run was ended at its limit."""
        return self.last.ended.timed_out


@dataclass
class AskedOfGit:
    """What git was asked ahead of need. An answer is waited for once; whoever asks again begins anew."""

    settings: Asked | None = None
    leftovers: Asked | None = None

    def take(self, name: Literal["settings", "leftovers"]) -> Asked | None:
        """What was asked, for whoever waits for the answer now."""
        asked: Asked | None = getattr(self, name)
        setattr(self, name, None)
        return asked

    def drop(self) -> None:
        """Nobody will wait for them."""
        for asked in (self.take("settings"), self.take("leftovers")):
            if asked is not None:
                asked.end()


@dataclass
class Attempt:
    """What the phases share."""

    spec: Spec
    assignment: Assignment
    layout: SpoolLayout
    paths: AttemptPaths
    task_paths: TaskPaths
    log: AgentLog
    events: EventLog
    stop: threading.Event
    api_key: str | None = field(repr=False)  # with a gateway its token, else the API's key; None: there is none
    began_at: datetime
    began: float = field(default_factory=time.monotonic)
    phase: Phase = Phase.SETUP
    phase_seconds: dict[str, float] = field(default_factory=dict)
    worktree: Path = Path("/")
    environment: dict[str, str] = field(default_factory=dict)
    sandbox: Sandbox = NO_SANDBOX  # until setup has put up the walls, nothing untrusted is run
    identity: tuple[str, str] = ("haikud", "haikud@localhost")
    start_sha: str | None = None
    git: WhoseGit = "none"
    repository_settings: RepositorySettings | None = field(default=None, repr=False)  # once they were read
    begun_worktree: BegunWorktree | None = None  # until it is its agent's
    asked_of_git: AskedOfGit = field(default_factory=AskedOfGit, repr=False)
    copied: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)
    templates: dict[str, bytes] = field(default_factory=dict)  # path -> what it began as
    warnings: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    tested: Tested | None = None
    summary: str = ""
    payload: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    issue: tuple[int, str | None] | None = None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # GitHub's, by their variables' names; for gh
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets.names, by name; for a push
    account: GatewayAccount | None = None  # None: no model call of the attempt goes through a gateway
    usage: UsageTotal = field(default_factory=UsageTotal)
    usage_by_model: dict[str, UsageTotal] = field(default_factory=dict)

    @property
    def is_operation(self) -> bool:
        """Whether this is an operation that needs no model."""
        return self.spec.task.operation is not None and self.spec.task.operation in self.spec.role.operations

    @property
    def log_file(self) -> Path:
        """The task's log, under the name that people know."""
        return self.layout.log_link(self.spec.ref)

    @property
    def grace(self) -> float:
        """Seconds between TERM and KILL. Half of the engine's, which ends us after the whole of it."""
        return self.spec.limits.grace_seconds / 2

    def warn(self, message: str) -> None:
        """Something the requester should know, which does not end the attempt."""
        self.warnings.append(message)
        self.say(f"warning: {message}")

    def say(self, text: str) -> None:
        """A line in the log where that is possible; a log that is gone must not keep us from ending properly."""
        with contextlib.suppress(OSError):
            self.log.line(text)

    def enter(self, phase: Phase, percent: int, message: str) -> None:
        """A phase begins."""
        self.phase = phase
        self.log.line(f"{phase.value} ({percent} %): {message}")
        self.events.phase(phase, percent, message)

    def read_orders(self) -> Orders:
        """What the engine wants now. It replaces the file as a whole; a broken one says nothing."""
        try:
            return read_model(self.paths.orders, Orders) or Orders()
        except (UnreadableFile, OSError):
            return Orders()

    def check_stop(self) -> None:
        """Raise Stopped where TERM has arrived."""
        if self.stop.is_set():
            raise Stopped(self.read_orders(), time.monotonic() - self.began)

    def run_untrusted(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout: float | None,
        tick: Callable[[], bool] | None = None,
        environment: dict[str, str] | None = None,
        keep: int = TAIL_BYTES,
    ) -> Outcome:
        """Run something untrusted in the worktree, its output in the log. Raises Stopped when TERM arrives.

        `tick` is called eight times a second or more often, and says whether to end the command; `keep` bytes from the
        output's end are returned. Raises CannotStart, too.
        """
        self.check_stop()
        tail = Tail(keep)
        signs = SignsOfLife(self.events, what, self.spec.monitors, None if timeout is None else timeout + self.grace)

        def take(data: bytes) -> None:
            self.log.agent(data, what, masked=True)
            tail.add(data)
            signs.heard()

        def look() -> bool:
            enough = tick is not None and tick()
            signs.look()
            return enough or self.stop.is_set()

        offset = self.log.offset()
        try:
            ended = self.sandbox.run(
                argv,
                cwd=self.worktree,
                env=self.environment if environment is None else environment,
                timeout=timeout,
                grace=self.grace,
                on_output=take,
                stop=look,
                wake=self.stop.descriptor if isinstance(self.stop, Stop) else None,
            )
        finally:
            self.log.flush(what)
            self.log.release()
        self.left_running.extend(ended.left_running)
        if ended.stopped:
            self.check_stop()
        return Outcome(ended, tail.text(), offset, self.log.offset())

    def end_processes(self) -> None:
        """End whatever of the attempt is still running, ourselves excepted. Raises TreeStillAlive.

        A subreaper without a child has no descendant: then there is nothing to look for, whose searches would take a
        third of a short attempt. (The daemon looks at everything once more, when the runner is gone.)
        """
        mine = frozenset[int]() if is_subreaper() else None  # every child of ours is the agent's
        if mine is not None and not own_children():
            return
        ended = end_tree(marker=str(self.paths.out), pids=[], grace=self.grace, orphans_but=mine, spare={os.getpid()})
        self.left_running.extend(ended)


class Tail:
    """The last bytes of a stream."""

    def __init__(self, keep: int = TAIL_BYTES) -> None:
        self._keep = keep
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """More of it."""
        self._data += data
        if len(self._data) > 2 * self._keep:
            del self._data[: -self._keep]

    def text(self) -> str:
        """What is kept, as text; NULs and the like stay for whoever shows it to escape."""
        return bytes(self._data[-self._keep :]).decode("utf-8", "replace")


def clean_text(text: str) -> str:
    """Untrusted output for a report: lines stay, control characters within them are escaped."""
    return "\n".join(escape_text(line) for line in text.splitlines())
