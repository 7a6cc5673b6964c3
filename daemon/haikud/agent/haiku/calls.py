"""One answer of the model, whatever it takes: the budget's clamp, the call, bounded retries, waiting out limits.

Promises: every try is within the budget and stops for orders; each failed try is in the log (`retry K/MAX REASON`) and
among the events, and what it cost is charged. How a try ended is noted in the transcript, a whole turn or what was paid
for none; where no gateway keeps a journal of calls, it is noted before it is made, too. Returns a whole answer, or
leaves through AgentEnds: failed, quota, budget, paused, stopped. No message holds the key. Fails with OSError: the
transcript's, or where the machine refuses the call itself (no descriptor left).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from haikud.agent.errors import AgentError
from haikud.agent.haiku.client import CallStopped, MessagesClient
from haikud.agent.haiku.compaction import Compaction
from haikud.agent.haiku.conversation import Block, Conversation, with_cache_marks
from haikud.agent.haiku.faults import CALL_FAULTS, Fault, FaultKind, classify
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.listening import Listening
from haikud.agent.haiku.metering import LEAST_OUTPUT, Metering, estimate_context
from haikud.agent.haiku.order import AgentEnds, HaikuOrder
from haikud.agent.haiku.retries import GiveUp, StopForQuota, TryAgain, decide_retry
from haikud.agent.haiku.transcript import Transcript
from haikud.agent.over_budget import no_further_call, over_budget
from haikud.contracts.attempt import FailureClass, QuotaStop
from haikud.contracts.error_report import ErrorType
from haikud.contracts.gateway import Purse, Refusal
from haikud.contracts.usage import UsageEntry
from haikud.spool.refusals import refused_by_machine

_TERM_SECONDS = 5.0
"""That the order to end is waited for by an attempt whose token was taken back: it may come a moment later."""


@dataclass(frozen=True)
class Answer:
    """A whole turn of the model."""

    content: list[Block]
    stop_reason: str
    stop_details: Block
    usage: UsageEntry | None
    max_tokens: int


class Caller:
    """Makes the calls of one session."""

    def __init__(
        self, order: HaikuOrder, client: MessagesClient, meter: Metering, system: list[Block], tools: list[Block]
    ) -> None:
        self._order = order
        self._api = order.spec.api
        self._cached = order.spec.context.cache_prompts
        self._compaction = Compaction(order.spec.role.model, order.spec.context.compact_at_tokens, order.log)
        self._model = order.spec.role.model
        self._client = client
        self._meter = meter
        self._system = system
        self._tools = tools

    def ask(self, transcript: Transcript) -> Answer:
        """The model's next turn, recorded."""
        conversation = transcript.conversation
        failed: Counter[FaultKind] = Counter()
        attempted: list[str] = []
        counted = 0  # tokens of context, by a broken try of this very call
        while True:
            self._obey_orders(conversation)
            context = self._compaction.before_call(transcript, self._context(conversation, counted))
            request = self._request(conversation, context)
            incoming = Incoming()
            most = self._meter.begin(context, request["max_tokens"])
            if most is not None:
                transcript.note_call(self._model, most)
            try:
                self._client.receive(request, incoming, Listening(self._order, incoming))
                content = incoming.finish()
            except CallStopped:
                self._pay(transcript, incoming, noted=most is not None)
                continue  # with the orders that ended it
            except CALL_FAULTS as error:
                paid = self._pay(transcript, incoming, noted=most is not None)
                refusal = refused_by_machine(error)
                if refusal is not None and refusal.errno != errno.EAGAIN:  # of a socket that only means "later"
                    raise refusal from error
                counted = max(counted, paid.context_tokens if paid else 0)
                through = self._order.account is not None
                fault = self._without_key(classify(error, self._client.base_url, through_gateway=through))
                if self._compaction.mends(fault, transcript):
                    continue
                self._obey_refusal(fault, conversation)
                failed[fault.kind] += 1
                self._after(fault, failed[fault.kind], attempted, conversation)
                continue
            self._tell_wait()
            unpaid = self._meter.unpaid(incoming, whole=True)
            entry = unpaid.pop() if unpaid else None
            self._charge(transcript, unpaid)  # of calls before it, when the gateway could not be asked
            reason, allowed = incoming.stop_reason or "", int(request["max_tokens"])
            try:
                self._compaction.heed(incoming.applied_edits, transcript)
                transcript.record_turn(content, self._model, reason, entry)
            finally:
                if entry is not None:
                    self._meter.charge(entry)
            return Answer(content, reason, incoming.stop_details, entry, int(self._client.max_tokens or allowed))

    def _pay(self, transcript: Transcript, incoming: Incoming, *, noted: bool) -> UsageEntry | None:
        """Pay for a call that gave no turn; where the transcript has noted its beginning, its end too.

        Returned is what the API has told of it, and not the most that a call which the gateway lost can have cost.
        """
        entries = self._meter.unpaid(incoming, whole=False)
        self._charge(transcript, entries or ([None] if noted else []))
        told = [entry for entry in entries if entry.request_id and entry.request_id == incoming.request_id]
        return told[-1] if told else None

    def _charge(self, transcript: Transcript, entries: Sequence[UsageEntry | None]) -> None:
        for entry in entries:
            try:
                transcript.note_paid(entry.model if entry else self._model, entry)
            finally:
                if entry is not None:
                    self._meter.charge(entry)

    def _tell_wait(self) -> None:
        """What the gateway says of how the call went, beside the answer."""
        waited = self._client.waited
        if waited:
            message = f"the account's limits, or other calls, held this call back for {waited:g} s"
            self._order.log.line(message)
            self._order.events.waiting(waited, message)

    def _context(self, conversation: Conversation, counted: int) -> int:
        return max(counted, estimate_context(conversation, self._model, [*self._system, *self._tools]))

    def _request(self, conversation: Conversation, context: int) -> dict[str, Any]:
        allowed = self._meter.allowed_output(context, self._api.max_output_tokens)
        if not allowed:
            meter, budget = self._meter, self._order.spec.budget_usd
            raise self._over_budget(
                conversation,
                f"The budget does not allow another model call: {max(0.0, meter.left_usd):.4f} USD are left of the"
                f" {budget:.4f} USD of this attempt, and the next call has about {context} tokens of context"
                f" and needs room for {LEAST_OUTPUT} tokens of output.",
            )
        thinking = {"thinking": {"type": "disabled"}} if self._api.thinking == "off" else {}
        messages = conversation.messages(self._model)
        return {
            "model": self._model,
            "max_tokens": allowed,
            "system": self._system,
            "tools": self._tools,
            "messages": with_cache_marks(messages) if self._cached else messages,
            **thinking,
            **self._compaction.fields(conversation),
        }

    def _obey_orders(self, conversation: Conversation) -> None:
        if self._order.stop.is_set():
            raise AgentEnds("stopped", summary=conversation.last_words)
        if self._order.read_orders().pause:
            raise AgentEnds("paused", summary=conversation.last_words)
        if self._order.at_turn():
            raise AgentEnds("intervened", summary=conversation.last_words)

    def _obey_refusal(self, fault: Fault, conversation: Conversation) -> None:
        """Leave where the gateway says that nothing further is to be called."""
        if fault.refusal is Refusal.BUDGET:
            raise self._over_budget(conversation, no_further_call(fault.message), fault.purse)
        if fault.refusal is Refusal.TOKEN:
            self._order.log.line(f"the attempt is over for haikud's gateway: {fault.message}")
            self._order.stop.wait(_TERM_SECONDS)
            error = AgentError(
                ErrorType.API_ERROR,
                fault.code,
                f"{fault.message}. {fault.cure}",
                failure_class=FailureClass.TEMPORARY,
                operation="calling the Messages API",
                suggested_action=fault.cure,
            )
            raise AgentEnds("stopped", summary=conversation.last_words, error=error)

    def _after(self, fault: Fault, failed: int, attempted: list[str], conversation: Conversation) -> None:
        """Wait for the next try, or leave."""
        decision = decide_retry(fault, failed, self._api)
        words = conversation.last_words
        match decision:
            case TryAgain(seconds, number, most):
                attempted.append(f"Try {number} of {most}: {fault.message}; waited {seconds:g} s")
                self._order.log.fact(f"retry {number}/{most} {fault.code}: {fault.message}; again in {seconds:g} s")
                if fault.kind is FaultKind.QUOTA:
                    self._order.events.waiting(seconds, fault.message)
                else:
                    self._order.events.retry(f"{number}/{most} {fault.message}")
                if self._order.stop.wait(seconds):
                    raise AgentEnds("stopped", summary=words)
            case StopForQuota(seconds):
                self._order.log.line(f"stopped by the API's limits for {seconds:g} s: {fault.message}")
                stop = QuotaStop(status=fault.status or 429, message=fault.message, retry_after_seconds=seconds)
                raise AgentEnds("quota", summary=words, quota=stop)
            case GiveUp(tries):
                attempted.append(f"Try {tries}: {fault.message}")
                raise AgentEnds("failed", summary=words, error=_api_error(fault, tries, attempted))

    def _over_budget(self, conversation: Conversation, message: str, purse: Purse | None = None) -> AgentEnds:
        self._order.log.line(message)
        words = conversation.last_words
        spent = self._order.spec.spent.cost_usd + self._meter.usage.cost_usd
        question, error = over_budget(message, spent, purse, words)
        return AgentEnds("budget", summary=words, question=question, error=error, purse=purse)

    def _without_key(self, fault: Fault) -> Fault:
        key = self._order.api_key
        return replace(fault, message=fault.message.replace(key, "[key]")) if key else fault


def _api_error(fault: Fault, tries: int, attempted: list[str]) -> AgentError:
    network = fault.kind is FaultKind.NETWORK
    count = f" ({tries} tries)" if tries > 1 else ""
    return AgentError(
        ErrorType.API_ERROR,
        fault.code,
        f"{fault.message}{count}" if network else f"{fault.message}. {fault.cure}",
        failure_class=FailureClass.NETWORK if network else FailureClass.PERMANENT,
        attempted=attempted,
        operation="calling the Messages API",
        suggested_action=fault.cure,
    )
