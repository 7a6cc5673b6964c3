"""What the session has used, and what its budget still allows.

Promises: every call that cost anything is one usage entry, one `tokens_used` and one `context_tokens` line in the log
and one event, so that these always add up to the same. A call whose worst case would cross the budget is not made. The
entry goes into the transcript first, and is told after that: what a runner that dies has not told can be told later.
"""

from __future__ import annotations

from haikud.agent.events import EventLog
from haikud.agent.haiku.conversation import Block, Conversation, bytes_of
from haikud.agent.haiku.incoming import Incoming
from haikud.contracts.attempt import Spec
from haikud.contracts.base import utc_now
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.costs.prices import PriceList
from haikud.costs.reported import readable_usage
from haikud.spool.agent_log import AgentLog

LEAST_OUTPUT = 256
"""Tokens: an answer that may be no longer than this is not worth its context."""

_BYTES_PER_TOKEN = 2
"""For what no call has counted yet. Prose has twice that; digits and symbols come near it, and a budget is hard."""

_TOKENS_PER_LINE = 16
_TOKENS_OF_BUILT_IN_TOOLS = 1500
"""The API's own descriptions of the shell and the editor are not in the request, but in the bill."""


class Meter:
    """The totals of one session against its budget in US dollars."""

    def __init__(self, spec: Spec, log: AgentLog, events: EventLog) -> None:
        self.prices = price_list(spec)
        self._model = spec.role.model
        self._budget = spec.budget_usd
        self._log = log
        self._events = events
        self.usage = UsageTotal()

    @property
    def left_usd(self) -> float:
        """What may still be spent."""
        return self._budget - self.usage.cost_usd

    @property
    def usage_by_model(self) -> dict[str, UsageTotal]:
        """The totals per model: one session calls one."""
        return {self._model: self.usage} if self.usage.requests else {}

    def price(self, incoming: Incoming) -> UsageEntry | None:
        """What a call cost, whole or broken; None where there is nothing to pay."""
        if incoming.usage is None:
            return None
        usage, now, request_id = incoming.usage, utc_now(), incoming.request_id
        try:
            return self.prices.price_message(self._model, usage, now, request_id, estimated=incoming.is_estimated)
        except ValueError:  # an answer was given, whatever its usage says: what can be read of it counts
            return self.prices.price_message(self._model, readable_usage(usage), now, request_id, estimated=True)

    def price_at_most(self, context_tokens: int, max_tokens: int) -> UsageEntry:
        """The most that a call can cost: what counts where the runner dies in the middle of it."""
        most = {"cache_creation_input_tokens": context_tokens, "output_tokens": max_tokens}
        return self.prices.price_message(self._model, most, utc_now(), estimated=True)

    def charge(self, entry: UsageEntry | None) -> None:
        """Count what was paid and tell it."""
        if entry is None:
            return
        self.usage = self.usage.plus_entry(entry)
        self._log.fact(f"context_tokens {entry.context_tokens}")
        self._log.fact(f"tokens_used {entry.tokens_used}")
        self._events.usage(entry)

    def allowed_output(self, context_tokens: int, ceiling: int) -> int:
        """`max_tokens` of the next call; 0 where the budget has no room for one of use."""
        allowed = self.prices.max_tokens_within(self._model, context_tokens, self.left_usd, ceiling)
        return allowed if allowed >= LEAST_OUTPUT else 0


def price_list(spec: Spec) -> PriceList:
    """The prices that hold for an attempt."""
    return PriceList(spec.prices, spec.sonnet_model)


def estimate_context(conversation: Conversation, model: str, fixed: list[Block]) -> int:
    """Input tokens of the next call, rather too many: the last call's count and what has come since.

    `fixed` are the system blocks and the tools, which the first call has not counted yet.
    """
    turn = conversation.last_turn
    if turn is not None and turn.usage is not None and turn.model == model:
        new = conversation.since_last_turn
        grown = sum(bytes_of(line.content) for line in new) // _BYTES_PER_TOKEN + _TOKENS_PER_LINE * len(new)
        return turn.usage.context_tokens + turn.usage.output_tokens + grown
    everything = bytes_of(fixed) + bytes_of(conversation.messages(model))
    return everything // _BYTES_PER_TOKEN + _TOKENS_OF_BUILT_IN_TOOLS
