"""The built-in agent's loop: ask the model, record its turn, use its tools, record their results, again.

Promises: a turn is durable before its tools run, a result as soon as it is there. The loop ends only through
AgentEnds: done (the model ended its turn without a tool), escalated, max_turns, or what a call ends with (calls.py).
"""

from __future__ import annotations

from typing import NoReturn

from haikud.agent.errors import AgentError
from haikud.agent.haiku.asking import completed
from haikud.agent.haiku.cache_watch import CacheWatch
from haikud.agent.haiku.calls import Answer, Caller
from haikud.agent.haiku.conversation import Block, text_of, tool_uses
from haikud.agent.haiku.order import AgentEnds, EndKind, HaikuOrder
from haikud.agent.haiku.prompt import CONTINUE, NOT_RUN
from haikud.agent.haiku.repeats import find_repeat
from haikud.agent.haiku.tools.outcome import ToolOutcome
from haikud.agent.haiku.tools.registry import Toolbox
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.error_report import ErrorType

MOST_CUT_TURNS = 3
"""In a row that the output limit cut: a model that goes on like that gets nowhere."""


class Loop:
    """The turns of one attempt."""

    def __init__(self, order: HaikuOrder, transcript: Transcript, caller: Caller, toolbox: Toolbox) -> None:
        self._order = order
        self._transcript = transcript
        self._caller = caller
        self._toolbox = toolbox
        last = transcript.conversation.last_turn
        self._watch = CacheWatch(last.usage if last else None) if order.spec.context.cache_prompts else None
        self._turns = 0
        self._cut = 0

    def run(self) -> NoReturn:
        """Take turns until AgentEnds."""
        while True:
            self._step()

    def _step(self) -> None:
        most = self._order.spec.limits.max_turns
        if self._turns >= most:
            raise self._ends_failed(
                "MAX_TURNS",
                f"The agent was not done after {most} model calls (limits.max_turns).",
                "Split the task, raise limits.max_turns, or retry: it goes on from where it is.",
                kind="max_turns",
            )
        answer = self._caller.ask(self._transcript)
        self._turns += 1
        self._log(answer)
        self._act(answer)

    def _log(self, answer: Answer) -> None:
        text = text_of(answer.content)
        if text:
            self._order.log.agent(text.encode() + b"\n", "model")
        if answer.usage is not None:
            self._order.log.line(
                f"turn {self._turns}: {answer.usage.context_tokens} tokens in, {answer.usage.output_tokens} out,"
                f" {answer.usage.cost_usd:.6f} USD"
            )
            warning = self._watch.look(answer.usage) if self._watch else None
            if warning:
                self._order.log.line(warning)

    def _act(self, answer: Answer) -> None:
        self._cut = self._cut + 1 if answer.stop_reason == "max_tokens" else 0
        uses = tool_uses(answer.content)
        match answer.stop_reason:
            case "refusal":
                raise self._refused(answer)
            case "end_turn" | "tool_use" if uses:
                self._use_tools(uses)
            case "end_turn":
                raise AgentEnds("done", summary=text_of(answer.content))
            case "max_tokens":
                self._go_on_after_cut(uses, answer.max_tokens)
            case "pause_turn":
                pass  # the API wants the turn back as it is, and goes on with it
            case "model_context_window_exceeded":
                raise self._ends_failed(
                    "CONTEXT_FULL", "The conversation has filled the model's context.", "Split the task."
                )
            case unknown:
                raise self._ends_failed(
                    "UNKNOWN_STOP_REASON",
                    f"The model stopped for a reason that haikud does not know: {unknown!r}.",
                    "Retry the task; if it happens again, a newer haikud may be needed.",
                )

    def _use_tools(self, uses: list[Block]) -> None:
        """Use the tools in order; after a question, or once the attempt is being ended, no further one."""
        ending: ToolOutcome | None = None
        for use in uses:
            if ending is None and self._order.stop.is_set():
                # Not recorded: whoever takes the conversation up again tells the model.
                raise AgentEnds("stopped", summary=self._transcript.conversation.last_words)
            outcome = self._toolbox.use(use) if ending is None else ToolOutcome(NOT_RUN, is_error=True)
            self._record(use, outcome)
            if ending is None and (outcome.question is not None or outcome.stopped):
                ending = outcome
        if ending is not None:
            kind: EndKind = "stopped" if ending.stopped else "escalated"
            words = self._transcript.conversation.last_words
            asked = completed(ending.question, self._transcript.conversation) if ending.question else None
            raise AgentEnds(kind, summary=words, question=asked)

    def _record(self, use: Block, outcome: ToolOutcome) -> None:
        notes = self._order.spec.context.note_repeats
        repeat = find_repeat(self._transcript.conversation, use, outcome.text) if notes else None
        text, same_as = (repeat.note, repeat.same_as) if repeat else (outcome.text, "")
        self._transcript.record_result(use, text, is_error=outcome.is_error, same_as=same_as)

    def _go_on_after_cut(self, uses: list[Block], limit: int) -> None:
        if self._cut > MOST_CUT_TURNS:
            raise self._ends_failed(
                "OUTPUT_LIMIT",
                f"The model's answers were cut off at {limit} tokens {self._cut} times in a row.",
                "Raise api.max_output_tokens, or split the task.",
            )
        if uses:
            self._use_tools(uses)
        self._transcript.say(CONTINUE, "continue")

    def _refused(self, answer: Answer) -> AgentEnds:
        why = answer.stop_details.get("explanation") or text_of(answer.content)
        return self._ends_failed(
            "MODEL_REFUSED",
            f"The model refused to go on{f': {why}' if why else '.'}",
            "Reword the task, give it to another model, or do it by hand.",
        )

    def _ends_failed(self, code: str, message: str, action: str, *, kind: EndKind = "failed") -> AgentEnds:
        self._order.log.line(message)
        error = AgentError(ErrorType.AGENT_ERROR, code, message, suggested_action=action)
        return AgentEnds(kind, summary=self._transcript.conversation.last_words, error=error)
