"""Where everything in a spool lies: the one place that knows the folder names. Pure paths, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from haikud.contracts.names import ID, split_ref

DROP_FOLDERS = ("incoming", "guidance", "control")
"""The folders that producers drop files into."""

TOP_FOLDERS = (
    *DROP_FOLDERS,
    "rejected",
    "plans",
    "tasks",
    "responses",
    "escalations",
    "issues",
    "gateway",
    "logs",
)

BUILD = re.compile(rf"\.({ID})\.new")
"""`plans/.PLAN.new`: a plan before its commit point."""

REMOVAL = re.compile(rf"\.({ID})\.pruned")
"""`plans/.PLAN.pruned`: a plan that is being pruned, behind its tombstone."""

DECISION = re.compile(r"decision-([0-9]{4,})\.json")


@dataclass(frozen=True)
class AttemptPaths:
    """`plans/PLAN/TASK/attempt-N/`. Each path is made once: a runner asks for its own again and again."""

    folder: Path

    @cached_property
    def spec(self) -> Path:
        """The engine's order."""
        return self.folder / "spec.json"

    @cached_property
    def assignment(self) -> Path:
        """TASK_PLAN_FILE."""
        return self.folder / "assignment.json"

    @cached_property
    def dependencies(self) -> Path:
        """HAIKUD_DEPENDENCIES_FILE."""
        return self.folder / "dependencies.json"

    @cached_property
    def guidance(self) -> Path:
        """HAIKUD_GUIDANCE_FILE: the answers so far in plain words, written by the runner."""
        return self.folder / "guidance.txt"

    @cached_property
    def orders(self) -> Path:
        """Pause and end: the engine writes, the runner reads."""
        return self.folder / "orders.json"

    @cached_property
    def claim(self) -> Path:
        """The file whose flock the runner holds as long as it lives."""
        return self.folder / "claim"

    @cached_property
    def runner(self) -> Path:
        """Who holds the claim."""
        return self.folder / "runner.json"

    @cached_property
    def result(self) -> Path:
        """The runner's report."""
        return self.folder / "result.json"

    @cached_property
    def usage(self) -> Path:
        """What its model calls cost, by the gateway's journal."""
        return self.folder / "usage.json"

    @cached_property
    def events(self) -> Path:
        """The runner's events."""
        return self.folder / "events.jsonl"

    @cached_property
    def out(self) -> Path:
        """HAIKUD_OUT: the only folder here that the agent may write."""
        return self.folder / "out"

    @cached_property
    def workspace(self) -> Path:
        """The empty folder of an attempt with `workspace: none`, beneath out/, which the agent may write."""
        return self.out / "workspace"


@dataclass(frozen=True)
class TaskPaths:
    """`plans/PLAN/TASK/`."""

    folder: Path

    @property
    def log(self) -> Path:
        """One log over all attempts."""
        return self.folder / "agent.log"

    @property
    def response(self) -> Path:
        """The task's own answer."""
        return self.folder / "response.json"

    @property
    def transcript(self) -> Path:
        """The built-in agent's turns over all attempts."""
        return self.folder / "transcript.jsonl"

    @property
    def private_git(self) -> Path:
        """The agent's own git folder."""
        return self.folder / "git"

    def decision(self, number: int) -> Path:
        """The decision of that number."""
        return self.folder / f"decision-{number:04d}.json"

    def escalation(self, number: int) -> Path:
        """The question of that number."""
        return self.folder / f"escalation-{number:04d}.json"

    def guidance(self, number: int) -> Path:
        """The answer of that number."""
        return self.folder / f"guidance-{number:04d}.json"

    def attempt(self, number: int) -> AttemptPaths:
        """The folder of that attempt."""
        return AttemptPaths(self.folder / f"attempt-{number}")


@dataclass(frozen=True)
class PlanPaths:
    """`plans/PLAN/`."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The normalised plan."""
        return self.folder / "plan.json"

    @property
    def response(self) -> Path:
        """The plan's answer."""
        return self.folder / "response.json"

    @property
    def ledger(self) -> Path:
        """History for people."""
        return self.folder / "ledger.jsonl"

    def task(self, task_id: str) -> TaskPaths:
        """The folder of that task."""
        return TaskPaths(self.folder / task_id)


@dataclass(frozen=True)
class GatewayPaths:
    """`gateway/`: 0700 whatever the settings say, for whoever reaches its socket may try tokens."""

    folder: Path

    @property
    def lock(self) -> Path:
        """The flock of the gateway that writes the journal."""
        return self.folder / "gateway.lock"

    @property
    def messages(self) -> Path:
        """The unix socket on which runners call."""
        return self.folder / "messages.sock"

    @property
    def daemon(self) -> Path:
        """The unix socket on which the daemon talks to its gateway."""
        return self.folder / "daemon.sock"

    @property
    def address(self) -> Path:
        """Where it listens on loopback: derived, so that the same port is asked for again."""
        return self.folder / "address.json"

    @property
    def tokens(self) -> Path:
        """One file for each attempt that may call."""
        return self.folder / "tokens"

    @property
    def usage(self) -> Path:
        """The journal, a file for each UTC day."""
        return self.folder / "usage"

    def token(self, ref: str, attempt: int) -> Path:
        """What that attempt's token is good for."""
        return self.tokens / f"{ref}.{attempt}.json"

    def journal(self, day: date) -> Path:
        """The calls that began on that day."""
        return self.usage / f"{day.isoformat()}.jsonl"


@dataclass(frozen=True)
class SpoolLayout:
    """A spool directory. `root` is absolute."""

    root: Path

    @cached_property  # asked for at every step of every plan
    def format_file(self) -> Path:
        """FORMAT."""
        return self.root / "FORMAT"

    @cached_property
    def lock_file(self) -> Path:
        """flock: one daemon per spool."""
        return self.root / "daemon.lock"

    @cached_property
    def status_file(self) -> Path:
        """The live picture."""
        return self.root / "status.json"

    @cached_property
    def status_reserve(self) -> Path:
        """Room for status.json on a full disk."""
        return self.root / ".status.reserve"

    @cached_property
    def queue_file(self) -> Path:
        """Whether the queue as a whole is paused."""
        return self.root / "queue.json"

    @cached_property
    def day_spend_file(self) -> Path:
        """What was spent today."""
        return self.root / "day-spend.json"

    @cached_property
    def role_history_file(self) -> Path:
        """What the last finished tasks of each role took."""
        return self.root / "role-history.json"

    @cached_property
    def incoming(self) -> Path:
        """Requests are dropped here."""
        return self.root / "incoming"

    @cached_property
    def guidance(self) -> Path:
        """Answers to escalations are dropped here."""
        return self.root / "guidance"

    @cached_property
    def control(self) -> Path:
        """Commands are dropped here."""
        return self.root / "control"

    @cached_property
    def rejected(self) -> Path:
        """What was set aside, with reasons."""
        return self.root / "rejected"

    @cached_property
    def plans(self) -> Path:
        """One folder per admitted plan."""
        return self.root / "plans"

    @cached_property
    def pruned(self) -> Path:
        """Tombstones of pruned plans."""
        return self.plans / ".pruned"

    @cached_property
    def tasks(self) -> Path:
        """tasks/STATE/REF: the index of the decisions."""
        return self.root / "tasks"

    @cached_property
    def responses(self) -> Path:
        """Answers, for the requester to read and take away."""
        return self.root / "responses"

    @cached_property
    def escalations(self) -> Path:
        """Open questions."""
        return self.root / "escalations"

    @cached_property
    def issues(self) -> Path:
        """The local issue tracker."""
        return self.root / "issues"

    @cached_property
    def gateway(self) -> GatewayPaths:
        """gateway/."""
        return GatewayPaths(self.root / "gateway")

    @cached_property
    def logs(self) -> Path:
        """Links to the tasks' logs."""
        return self.root / "logs"

    def plan(self, plan_id: str) -> PlanPaths:
        """The folder of an admitted plan."""
        return PlanPaths(self.plans / plan_id)

    def plan_being_built(self, plan_id: str) -> PlanPaths:
        """The folder in which admission builds a plan before its commit point."""
        return PlanPaths(self.plans / f".{plan_id}.new")

    def plan_being_removed(self, plan_id: str) -> PlanPaths:
        """The folder of a plan that is being pruned, behind its tombstone."""
        return PlanPaths(self.plans / f".{plan_id}.pruned")

    def task(self, ref: str) -> TaskPaths:
        """The folder of a task, by its ref."""
        plan_id, task_id = split_ref(ref)
        return self.plan(plan_id).task(task_id)

    def link(self, state: str, ref: str) -> Path:
        """tasks/STATE/REF."""
        return self.tasks / state / ref

    def link_target(self, ref: str) -> str:
        """What tasks/STATE/REF points to: relative, so that a spool can be moved."""
        plan_id, task_id = split_ref(ref)
        return f"../../plans/{plan_id}/{task_id}"

    def log_link(self, ref: str) -> Path:
        """logs/agent-REF.log."""
        return self.logs / f"agent-{ref}.log"

    def log_target(self, ref: str) -> str:
        """What logs/agent-REF.log points to."""
        plan_id, task_id = split_ref(ref)
        return f"../plans/{plan_id}/{task_id}/agent.log"
