"""What the runner gives to the built-in agent, and what it gets back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from haikud.agent.errors import AgentError
from haikud.agent.events import EventLog
from haikud.agent.gateway_account import GatewayAccount
from haikud.agent.haiku.context import ContextFile
from haikud.contracts.attempt import Assignment, Orders, Question, QuotaStop, Spec
from haikud.contracts.gateway import Purse
from haikud.contracts.usage import UsageTotal
from haikud.sandbox.isolation import NO_SANDBOX, Sandbox
from haikud.spool.agent_log import AgentLog

EndKind = Literal["done", "escalated", "paused", "quota", "failed", "stopped", "budget", "max_turns", "intervened"]


@dataclass(frozen=True)
class HaikuOrder:
    """One attempt's order to the built-in agent. `environment` is exactly what tool commands get."""

    spec: Spec
    assignment: Assignment
    worktree: Path
    transcript: Path
    log: AgentLog
    events: EventLog
    api_key: str | None = field(repr=False)
    environment: dict[str, str] = field(repr=False)
    dependencies_file: Path | None
    read_orders: Callable[[], Orders]
    stop: threading.Event  # set by TERM
    account: GatewayAccount | None = None  # None: calls go to the API itself; else `api_key` is the gateway's token
    at_turn: Callable[[], bool] = lambda: False  # whether a monitor ends it at this turn
    cuts_call: Callable[[], bool] = lambda: False  # whether a model call under way is to be cut short for that
    gather_context: Callable[[], Sequence[ContextFile]] = tuple  # for the first message of a conversation
    sandbox: Sandbox = NO_SANDBOX  # what tool commands run in
    resume_note: str | None = None  # why this attempt follows one that said done, such as failed tests


@dataclass(frozen=True)
class HaikuEnd:
    """How the agent's part of an attempt ended. `usage` is this attempt's alone."""

    kind: EndKind
    summary: str = ""  # the model's last words
    question: Question | None = None  # with escalated and budget
    quota: QuotaStop | None = None  # with quota
    error: AgentError | None = None  # with failed, budget and max_turns
    purse: Purse | None = None  # with budget: whose it was, where the gateway said so
    usage: UsageTotal = field(default_factory=UsageTotal)
    usage_by_model: dict[str, UsageTotal] = field(default_factory=dict)


class AgentEnds(Exception):  # noqa: N818 -- most ends are no errors
    """The loop's way out: raised where the end is found, turned into a HaikuEnd at the door."""

    def __init__(
        self,
        kind: EndKind,
        *,
        summary: str = "",
        question: Question | None = None,
        quota: QuotaStop | None = None,
        error: AgentError | None = None,
        purse: Purse | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind: EndKind = kind
        self.summary = summary
        self.question = question
        self.quota = quota
        self.error = error
        self.purse = purse
