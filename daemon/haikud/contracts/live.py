"""`status.json`: the live picture. Derived, replaced atomically at most once a second, never needed to recover."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.gateway import PauseKind
from haikud.contracts.intervention import Intervention


class FaultKind(StrEnum):
    """What the machine refuses, in words for people and programs."""

    NO_SPACE = "no_space"  # or no quota, or less free than min_free_bytes
    READ_ONLY = "read_only"
    PERMISSION_DENIED = "permission_denied"
    TOO_MANY_FILES = "too_many_files"
    NO_PROCESSES = "no_processes"  # fork refused
    NO_MEMORY = "no_memory"
    WATCH_LIMIT = "watch_limit"  # inotify instances or watches used up: polling instead
    EVENTS_LOST = "events_lost"  # the inotify queue overflowed: everything was looked at again
    CLOCK_JUMPED = "clock_jumped"
    IO_ERROR = "io_error"
    UNREADABLE = "unreadable"  # a file of the spool that cannot be what it is there
    NO_SANDBOX = "no_sandbox"  # no mode that the settings allow works: tasks stay queued
    OTHER = "other"


KIND_OF_ERRNO = {
    errno.ENOSPC: FaultKind.NO_SPACE,
    errno.EDQUOT: FaultKind.NO_SPACE,
    errno.EROFS: FaultKind.READ_ONLY,
    errno.EACCES: FaultKind.PERMISSION_DENIED,
    errno.EPERM: FaultKind.PERMISSION_DENIED,
    errno.EMFILE: FaultKind.TOO_MANY_FILES,
    errno.ENFILE: FaultKind.TOO_MANY_FILES,
    errno.EAGAIN: FaultKind.NO_PROCESSES,
    errno.ENOMEM: FaultKind.NO_MEMORY,
    errno.EIO: FaultKind.IO_ERROR,
    errno.EUCLEAN: FaultKind.IO_ERROR,
    errno.ENODEV: FaultKind.IO_ERROR,
    errno.ENXIO: FaultKind.IO_ERROR,
    errno.ESTALE: FaultKind.IO_ERROR,
    errno.ESHUTDOWN: FaultKind.IO_ERROR,
}
"""What a system call's refusal is; any other number is OTHER."""


class EnvironmentFault(Model):
    """Something that the machine refuses, while it lasts."""

    kind: FaultKind
    doing: str  # what cannot be done
    message: str  # the system's own words, with the path
    cure: str  # what a person can do
    since: Timestamp
    holds_work: bool = False  # no request is taken and no attempt started while it lasts


GatewayState = Literal["not needed yet", "starting", "running", "down"]


class GatewayStatus(Model):
    """The process through which agents call models."""

    state: GatewayState  # not needed yet: no agent of this daemon has called a model
    pid: int | None = None
    base_url: str | None = None  # for agents that need TCP


class DaemonStatus(Model):
    """The daemon itself."""

    pid: int
    version: str
    state: Literal["running", "faulted", "draining", "stopping", "stopped"]  # faulted: a fault holds up all work
    started_at: Timestamp
    max_agents: int
    watcher: str  # inotify or polling
    sandbox: str = "none"  # bwrap, landlock or none; unknown: not tried yet; unavailable: nothing is run
    gateway: GatewayStatus | None = None


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
    model: str | None = None  # of the newest attempt; "" where it calls none, None before the first
    model_family: str = ""  # Haiku, Sonnet, Opus: what people call it
    cost_usd: float = 0.0  # so far, over all attempts
    sonnet_cost_usd: float = 0.0  # the same requests at Sonnet's prices
    tokens_used: int = 0
    since: Timestamp
    raised: int = 0  # with `escalated`: how often its question was raised again, unanswered
    started_at: Timestamp | None = None
    retry_at: Timestamp | None = None
    branch: str | None = None
    pid: int | None = None
    interventions: list[Intervention] = Field(default_factory=list)  # what monitors saw in the running attempt
    undeclared_files: list[str] = Field(default_factory=list)  # that the running attempt has changed


class RunningCosts(Model):
    """What has been spent so far, and about what it will come to; computed from usage, never assumed.

    Estimates are null where they have nothing to go by. What ticks by itself is as of `updated_at`.
    """

    cost_usd: float = 0.0
    sonnet_cost_usd: float = 0.0  # the same requests at Sonnet's prices
    savings_usd: float = 0.0  # below 0 where the agents were dearer than Sonnet
    savings_percent: float = 0.0
    estimated_total_usd: float | None = None  # what is finished, and each open task at its role's median, or above it
    estimated_sonnet_usd: float | None = None  # the same at Sonnet's prices
    estimated_savings_usd: float | None = None
    estimated_savings_percent: float | None = None
    elapsed_seconds: float = 0.0  # since its admission
    estimated_seconds_left: float | None = None  # of work: were every question answered now
    estimate_from: dict[str, int] = Field(default_factory=dict)  # role -> so many finished tasks of it
    no_estimate_for: list[str] = Field(default_factory=list)  # roles of open tasks, none of which has finished yet


class PlanStatus(RunningCosts):
    """An open plan: its finished tasks count too."""

    id: str
    title: str = ""
    admitted_at: Timestamp
    counts: dict[str, int]  # state -> how many of its tasks


class LiveStatus(Model):
    """The whole picture."""

    format: Literal[1] = 1
    spool_id: str
    updated_at: Timestamp
    daemon: DaemonStatus
    counts: dict[str, int]  # every state -> how many tasks (final ones: since this daemon began)
    paused: str | None = None  # why nothing starts
    paused_until: Timestamp | None = None
    paused_kind: PauseKind | None = None  # where the API is the reason
    held: str | None = None  # why nothing new starts, though the queue is not paused: too many open questions
    trouble: list[str] = Field(default_factory=list)  # the same as `faults`, one line each
    faults: list[EnvironmentFault] = Field(default_factory=list)  # of the environment, while they last
    tasks: list[TaskStatus]
    tasks_left_out: int = 0  # open tasks beyond those listed
    plans: list[PlanStatus] = Field(default_factory=list)  # open ones, those with running tasks first
    plans_left_out: int = 0  # open plans beyond those listed
    all_plans: RunningCosts | None = None  # all open plans together; null where none is open
    cost_usd: float = 0.0  # of the open tasks and those that finished lately
    day_cost_usd: float = 0.0
