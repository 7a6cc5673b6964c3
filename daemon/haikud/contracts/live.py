"""`status.json`: the live picture. Derived, replaced atomically at most once a second, never needed to recover."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp


class DaemonStatus(Model):
    """The daemon itself."""

    pid: int
    version: str
    state: Literal["running", "draining", "stopping", "stopped"]
    started_at: Timestamp
    max_agents: int
    watcher: str  # inotify or polling
    sandbox: str = "none"


class TaskStatus(Model):
    """One open task, or one that finished lately."""

    ref: str
    plan: str
    title: str
    state: str
    role: str
    priority: str
    attempt: int = 0
    phase: str | None = None
    percent: int | None = None
    message: str = ""
    reason: str = ""
    cost_usd: float = 0.0
    tokens_used: int = 0
    since: Timestamp
    started_at: Timestamp | None = None
    retry_at: Timestamp | None = None
    branch: str | None = None
    pid: int | None = None


class LiveStatus(Model):
    """The whole picture."""

    format: Literal[1] = 1
    spool_id: str
    updated_at: Timestamp
    daemon: DaemonStatus
    counts: dict[str, int]  # every state -> how many tasks (final ones: since this daemon began)
    paused: str | None = None  # why nothing starts
    paused_until: Timestamp | None = None
    trouble: list[str] = Field(default_factory=list)  # faults of the environment, while they last
    tasks: list[TaskStatus]
    tasks_left_out: int = 0  # open tasks beyond those listed
    cost_usd: float = 0.0  # of the open tasks and those that finished lately
    day_cost_usd: float = 0.0
