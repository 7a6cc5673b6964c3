"""The door of the built-in agent: one order in, one end out.

Promises: `run_haiku` returns an end for whatever the model, its tools or the API do. It raises only for the
environment (OSError: the disk; TreeStillAlive: a process that cannot be ended) and for bugs of ours. What was used is
in the end, whichever it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import urlsplit

from haikud.agent.errors import AgentError
from haikud.agent.haiku.calls import Caller
from haikud.agent.haiku.client import MessagesClient
from haikud.agent.haiku.loop import Loop
from haikud.agent.haiku.metering import GatewayMeter, Meter, Metering
from haikud.agent.haiku.order import AgentEnds, HaikuEnd, HaikuOrder
from haikud.agent.haiku.prompt import system_prompt
from haikud.agent.haiku.resume import take_up
from haikud.agent.haiku.tools.bash import Shell
from haikud.agent.haiku.tools.registry import Toolbox
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.error_report import ErrorType
from haikud.costs.prices import UnknownPrice
from haikud.spool.models import UnreadableFile

__all__ = ["HaikuEnd", "HaikuOrder", "run_haiku"]


def run_haiku(order: HaikuOrder, meter: Metering | None = None) -> HaikuEnd:
    """Work on the order until there is an end. A `meter` of the caller's tells what was used where this raises."""
    meter = meter or meter_of(order)
    try:
        _run(order, meter)
    except AgentEnds as end:
        return HaikuEnd(
            kind=end.kind,
            summary=end.summary,
            question=end.question,
            quota=end.quota,
            error=end.error,
            purse=end.purse,
            usage=meter.usage,
            usage_by_model=meter.usage_by_model,
        )


def meter_of(order: HaikuOrder) -> Metering:
    """The meter that fits the way on which the order's calls go."""
    if order.account is not None:
        return GatewayMeter(order.account, order.spec.limits.grace_seconds)
    return Meter(order.spec, order.log, order.events)


def _run(order: HaikuOrder, meter: Metering) -> NoReturn:
    spec = order.spec
    try:
        transcript = Transcript(order.transcript, spec.attempt)
    except UnreadableFile as error:
        raise _cannot_begin(
            ErrorType.AGENT_ERROR, "TRANSCRIPT_UNREADABLE", f"{error}.", "Retry the task from a fresh start."
        ) from error
    converse(order, meter, transcript)


def converse(
    order: HaikuOrder, meter: Metering, transcript: Transcript, connect: Callable[..., MessagesClient] = MessagesClient
) -> NoReturn:
    """Take the conversation up and go on with it until AgentEnds. `connect` makes the client, as its class does."""
    spec = order.spec
    with transcript.together():
        take_up(order, transcript)
    key = _checked_key(order, meter)
    shell = Shell(
        worktree=order.worktree,
        environment=order.environment,
        limits=spec.limits,
        sandbox=order.sandbox,
        log=order.log,
        events=order.events,
        stop=order.stop.is_set,
        monitors=spec.monitors,
        test_command=order.assignment.context.test_command,
    )
    toolbox = Toolbox(spec.role.tools, shell)
    socket = order.account.socket.text if order.account else None
    with contextlib.closing(toolbox), connect(spec.api, key, socket) as client:
        system = system_prompt(spec.role, cached=spec.context.cache_prompts)
        caller = Caller(order, client, meter, system, toolbox.definitions)
        Loop(order, transcript, caller, toolbox).run()


def _checked_key(order: HaikuOrder, meter: Metering) -> str:
    """The key, once everything that a first call would stumble over has been looked at."""
    spec = order.spec
    if not order.api_key:
        raise _cannot_begin(
            ErrorType.API_ERROR,
            "NO_CREDENTIAL",
            "There is no API key, and the built-in agent cannot work without one.",
            "Set ANTHROPIC_API_KEY in the daemon's environment and restart it, or use a role with a command.",
        )
    if not order.api_key.isascii() or not order.api_key.isprintable() or " " in order.api_key:
        raise _cannot_begin(
            ErrorType.API_ERROR,
            "BAD_CREDENTIAL",
            "The API key holds characters that no key has, such as a line break or a blank.",
            "Set ANTHROPIC_API_KEY again, in one line.",
        )
    base_url = spec.api.base_url
    if base_url is not None and (urlsplit(base_url).scheme not in {"http", "https"} or not urlsplit(base_url).hostname):
        raise _cannot_begin(
            ErrorType.API_ERROR,
            "BAD_BASE_URL",
            f"{base_url!r} is no URL of an API.",
            "Correct api.base_url in the settings, or ANTHROPIC_BASE_URL in the daemon's environment.",
        )
    try:
        meter.require_price()
    except UnknownPrice as error:
        raise _cannot_begin(
            ErrorType.API_ERROR,
            "UNKNOWN_MODEL_PRICE",
            f"No budget could be kept: {error}.",
            "Give its price in the settings (prices), or correct its name in the role or the settings (models).",
        ) from error
    return order.api_key


def _cannot_begin(kind: ErrorType, code: str, message: str, action: str) -> AgentEnds:
    error = AgentError(
        kind, code, f"{message} {action}", operation="starting the built-in agent", suggested_action=action
    )
    return AgentEnds("failed", error=error)
