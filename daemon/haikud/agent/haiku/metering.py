"""What the session has used, and what its budget still allows.

Through the gateway (GatewayMeter) the gateway counts, prices and caps, and this room asks it what a call cost. An
attempt without one (Meter) does all that itself: a call whose worst case would cross the budget is not made.

Promises, either way: what is charged goes into the transcript first, and is told after that (charges.py): what a runner
that dies has not told can be told later.
"""

from __future__ import annotations

from typing import Protocol

from haikud.agent.charges import Charges
from haikud.agent.events import EventLog
from haikud.agent.gateway_account import GatewayAccount, GatewayAway
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

_END_SECONDS = 2.0
"""That the end of a call which broke is waited for: the gateway may see it a moment after us, or be started again."""


class Metering(Protocol):
    """What a session has used, asked and told call by call."""

    @property
    def usage(self) -> UsageTotal:
        """What was charged."""
        ...

    @property
    def usage_by_model(self) -> dict[str, UsageTotal]:
        """The same by model."""
        ...

    @property
    def left_usd(self) -> float:
        """What may still be spent."""
        ...

    def require_price(self) -> None:
        """Raise UnknownPrice where no budget could be kept."""
        ...

    def allowed_output(self, context_tokens: int, ceiling: int) -> int:
        """`max_tokens` of the next call; 0 where the budget has no room for one of use."""
        ...

    def begin(self, context_tokens: int, max_tokens: int) -> UsageEntry | None:
        """A call begins; the most that it can cost, where the transcript is to note that."""
        ...

    def unpaid(self, incoming: Incoming, *, whole: bool) -> list[UsageEntry]:
        """What is to be charged now that a call has ended; the last is that call's own, if it is known yet."""
        ...

    def charge(self, entry: UsageEntry) -> None:
        """Count one of these, in their order, and tell it."""
        ...


class Meter:
    """Counts by itself what the calls of one session cost, against its budget in US dollars."""

    def __init__(self, spec: Spec, log: AgentLog, events: EventLog) -> None:
        self.prices = price_list(spec)
        self._model = spec.role.model
        self._budget = spec.budget_usd
        self._charges = Charges(log, events)

    @property
    def usage(self) -> UsageTotal:
        """What was charged."""
        return self._charges.total

    @property
    def left_usd(self) -> float:
        """What may still be spent."""
        return self._budget - self.usage.cost_usd

    @property
    def usage_by_model(self) -> dict[str, UsageTotal]:
        """The same by model: one session calls one."""
        return self._charges.by_model

    def require_price(self) -> None:
        """Raise UnknownPrice where no budget could be kept."""
        self.prices.require_price(self._model)

    def unpaid(self, incoming: Incoming, *, whole: bool) -> list[UsageEntry]:  # noqa: ARG002 -- see Metering
        """What the call cost, whole or broken; nothing where there is nothing to pay."""
        if incoming.usage is None:
            return []
        usage, now, request_id = incoming.usage, utc_now(), incoming.request_id
        try:
            return [self.prices.price_message(self._model, usage, now, request_id, estimated=incoming.is_estimated)]
        except ValueError:  # an answer was given, whatever its usage says: what can be read of it counts
            return [self.prices.price_message(self._model, readable_usage(usage), now, request_id, estimated=True)]

    def begin(self, context_tokens: int, max_tokens: int) -> UsageEntry:
        """The most that a call can cost: what counts where the runner dies in the middle of it."""
        most = {"cache_creation_input_tokens": context_tokens, "output_tokens": max_tokens}
        return self.prices.price_message(self._model, most, utc_now(), estimated=True)

    def charge(self, entry: UsageEntry) -> None:
        """Count what was paid and tell it."""
        self._charges.add(entry)

    def allowed_output(self, context_tokens: int, ceiling: int) -> int:
        """`max_tokens` of the next call; 0 where the budget has no room for one of use."""
        allowed = self.prices.max_tokens_within(self._model, context_tokens, self.left_usd, ceiling)
        return allowed if allowed >= LEAST_OUTPUT else 0


class GatewayMeter:
    """Mirrors the attempt's account at the gateway. A gateway that is away is asked again after the next call."""

    def __init__(self, account: GatewayAccount, grace_seconds: float) -> None:
        self._account = account
        self._patience = min(_END_SECONDS, grace_seconds / 4)  # whoever ends us with a signal waits no longer

    @property
    def usage(self) -> UsageTotal:
        """What was charged."""
        return self._account.charges.total

    @property
    def usage_by_model(self) -> dict[str, UsageTotal]:
        """The same by model."""
        return self._account.charges.by_model

    @property
    def left_usd(self) -> float:
        """What may still be spent, as the gateway said last."""
        return self._account.told.left_usd if self._account.told else 0.0

    def require_price(self) -> None:
        """The gateway refuses a model without a price."""

    def allowed_output(self, context_tokens: int, ceiling: int) -> int:  # noqa: ARG002 -- see Metering
        """The gateway clamps what crosses the budget."""
        return ceiling

    def begin(self, context_tokens: int, max_tokens: int) -> None:  # noqa: ARG002 -- see Metering
        """The gateway's journal notes what a call can cost at most."""
        self._account.begin()

    def unpaid(self, incoming: Incoming, *, whole: bool) -> list[UsageEntry]:
        """What the gateway has charged since it was asked last."""
        try:
            entries = self._account.entries(0.0 if whole else self._patience)
        except GatewayAway:
            return []
        return sorted(
            entries, key=lambda entry: entry.request_id is not None and entry.request_id == incoming.request_id
        )

    def charge(self, entry: UsageEntry) -> None:
        """Count one of these and tell it."""
        self._account.charge(entry)


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
