"""One answer of the model, whatever it takes: the budget's clamp, the call, bounded retries, waiting out limits.

Promises: every try is within the budget and stops for orders; each failed try is in the log (`retry K/MAX REASON`) and
among the events, and what it cost is charged. A try is noted in the transcript before it is made, and how it ended
after it: a whole turn, or what was paid for none. Returns a whole answer, or leaves through AgentEnds: failed, quota,
budget, paused, stopped. No message holds the key. Fails with OSError: the transcript's, or where the machine refuses
the call itself (no descriptor left).
"""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from haikud.agent.errors import AgentError
from haikud.agent.haiku.client import CallStopped, MessagesClient
from haikud.agent.haiku.compaction import Compaction
from haikud.agent.haiku.conversation import Block, Conversation, with_cache_marks
from haikud.agent.haiku.faults import CALL_FAULTS, Fault, FaultKind, classify
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.listening import Listening
from haikud.agent.haiku.metering import LEAST_OUTPUT, Meter, estimate_context
from haikud.agent.haiku.order import AgentEnds, HaikuOrder
from haikud.agent.haiku.retries import GiveUp, StopForQuota, TryAgain, decide_retry
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.attempt import FailureClass, Question, QuotaStop
from haikud.contracts.error_report import ErrorType
from haikud.contracts.usage import UsageEntry
from haikud.spool.refusals import refused_by_machine


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
        self, order: HaikuOrder, client: MessagesClient, meter: Meter, system: list[Block], tools: list[Block]
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
            transcript.note_call(self._model, self._meter.price_at_most(context, request["max_tokens"]))
            try:
                self._client.receive(request, incoming, Listening(self._order, incoming))
                content = incoming.finish()
            except CallStopped:
                self._pay(transcript, incoming)
                continue  # with the orders that ended it
            except CALL_FAULTS as error:
                paid = self._pay(transcript, incoming)
                refusal = refused_by_machine(error)
                if refusal is not None and refusal.errno != errno.EAGAIN:  # of a socket that only means "later"
                    raise refusal from error
                counted = max(counted, paid.context_tokens if paid else 0)
                fault = self._without_key(classify(error, self._client.base_url))
                if self._compaction.mends(fault, transcript):
                    continue
                failed[fault.kind] += 1
                self._after(fault, failed[fault.kind], attempted, conversation)
                continue
            entry, reason = self._meter.price(incoming), incoming.stop_reason or ""
            try:
                self._compaction.heed(incoming.applied_edits, transcript)
                transcript.record_turn(content, self._model, reason, entry)
            finally:
                self._meter.charge(entry)
            return Answer(content, reason, incoming.stop_details, entry, int(request["max_tokens"]))

    def _pay(self, transcript: Transcript, incoming: Incoming) -> UsageEntry | None:
        """Pay for a call that gave no turn."""
        entry = self._meter.price(incoming)
        try:
            transcript.note_paid(self._model, entry)
        finally:
            self._meter.charge(entry)
        return entry

    def _context(self, conversation: Conversation, counted: int) -> int:
        return max(counted, estimate_context(conversation, self._model, [*self._system, *self._tools]))

    def _request(self, conversation: Conversation, context: int) -> dict[str, Any]:
        allowed = self._meter.allowed_output(context, self._api.max_output_tokens)
        if not allowed:
            raise self._over_budget(conversation, context)
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

    def _over_budget(self, conversation: Conversation, context: int) -> AgentEnds:
        meter, spec = self._meter, self._order.spec
        message = (
            f"The budget does not allow another model call: {max(0.0, meter.left_usd):.4f} USD are left of the"
            f" {spec.budget_usd:.4f} USD of this attempt, and the next call has about {context} tokens of context"
            f" and needs room for {LEAST_OUTPUT} tokens of output."
        )
        self._order.log.line(message)
        spent = spec.spent.cost_usd + meter.usage.cost_usd
        question = Question(
            reason="The task has used up its budget.",
            blocker=message,
            context=[
                f"Spent on this task so far: {spent:.4f} USD.",
                *([f"The agent's last words: {conversation.last_words}"] if conversation.last_words else []),
            ],
            options=[
                "Raise the budget (budgets.task_usd, or max_cost_usd of the task) and let it go on",
                "Finish the work by hand: it is in the worktree",
                "Cancel the task",
            ],
            recommendation="Look at the worktree first: the work may be nearly done.",
        )
        error = AgentError(
            ErrorType.BUDGET_EXCEEDED,
            "BUDGET_EXCEEDED",
            message,
            failure_class=FailureClass.BUDGET,
            suggested_action="Raise budgets.task_usd (or the task's max_cost_usd), or split the task.",
        )
        return AgentEnds("budget", summary=conversation.last_words, question=question, error=error)

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
