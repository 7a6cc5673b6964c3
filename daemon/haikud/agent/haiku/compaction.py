"""Old tool results are cleared before a conversation becomes dear, or too long: by the API, at our word.

The API's own rule clears a little more with every call (all but the newest results), and each time the cached prefix
ends there: measured on the scripted API, that costs more than it saves. So the decision is made here, rarely and for
much at once: which results are cleared stands in the transcript, and every later request asks for exactly that (`keep`
grows with the calls), until it is worth clearing again. In between the prefix stays the same, and cached. The history
itself is sent whole, as it was: the API edits it, and thinking blocks stay valid.

Promises: what the model has not answered yet is never cleared. An API that knows no context editing is asked once and
then without: the conversation grows on, and ends where the model's window does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from haikud.agent.haiku.conversation import Block, Clearing, Conversation, bytes_of, tool_uses
from haikud.agent.haiku.faults import Fault
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.transcript import LineKind
from haikud.costs.context_editing import BETA, CLEAR_TOOL_USES
from haikud.costs.model_facts import window_tokens
from haikud.costs.tokens import BYTES_PER_TOKEN
from haikud.spool.agent_log import AgentLog

_WORTHWHILE = 10
"""Less than a tenth of the limit is not cleared: all that follows must be written to the cache again."""

_MOST_BYTES_PER_TOKEN = 8
"""For what a clearing saves at least, where a budget depends on it: deeply indented code comes near this."""

_SHARE_OF_WINDOW = 0.8
_TRIGGER_TOKENS = 1000  # of the request: always reached where something was cleared, so that `keep` alone decides


@dataclass(frozen=True)
class _Size:
    """Bytes of one call's input and result."""

    input: int
    result: int


class Compaction:
    """What is cleared in one session's requests. `at_tokens` of 0: nothing ever is."""

    def __init__(self, model: str, at_tokens: int, log: AgentLog) -> None:
        self._at = min(at_tokens, int(window_tokens(model) * _SHARE_OF_WINDOW))
        self._model = model
        self._log = log
        self._refused = False
        self._told = False

    def before_call(self, transcript: Transcript, tokens: int) -> int:
        """Decide for the next call, whose context is `tokens` long as it stands; returns the most that is left of it.

        `tokens` counts what the last turn's clearing left, and all that has come since.
        """
        conversation = transcript.conversation
        if not self._at or self._refused:
            return tokens
        expected = tokens - self._freed(conversation) // BYTES_PER_TOKEN
        if expected >= self._at:
            wanted = choose_clearing(conversation, expected - self._at // 2, self._at // _WORTHWHILE)
            if wanted is not None:
                self._clear(transcript, wanted, expected)
        return tokens - self._freed(conversation) // _MOST_BYTES_PER_TOKEN

    def fields(self, conversation: Conversation) -> dict[str, Any]:
        """What a request says about it."""
        clearing = conversation.clearing
        if not clearing.results or self._refused:
            return {}
        edit = {
            "type": CLEAR_TOOL_USES,
            "trigger": {"type": "input_tokens", "value": _TRIGGER_TOKENS},
            "keep": {"type": "tool_uses", "value": len(conversation.results) - clearing.results},
            **({"clear_tool_inputs": True} if clearing.inputs else {}),
        }
        return {
            "extra_headers": {"anthropic-beta": BETA},
            "extra_body": {"context_management": {"edits": [edit]}},
        }

    def mends(self, fault: Fault, transcript: Transcript) -> bool:
        """Whether the call that met this fault is worth another try, since it will be another call."""
        conversation = transcript.conversation
        if fault.status != 400 or not self._at or self._refused:
            return False
        if "context_management" in fault.message or BETA in fault.message:
            self._refused = bool(conversation.clearing.results)
            if self._refused:
                self._log.line(f"the API does not clear tool results ({fault.message}): the conversation stays whole")
            return self._refused
        if fault.is_overlong:
            wanted = choose_clearing(conversation, self._at, 1)
            if wanted is not None:
                self._clear(transcript, wanted, 0)
                return True
        return False

    def heed(self, applied: list[Block], transcript: Transcript) -> None:
        """See what the API says that it cleared. Where that is more than was asked for, it counts."""
        clearing = transcript.conversation.clearing
        counts = [edit.get("cleared_tool_uses") for edit in applied if edit.get("type") == CLEAR_TOOL_USES]
        cleared = sum(count for count in counts if isinstance(count, int))
        if self._refused or cleared == clearing.results:
            return
        if not self._told:
            self._log.line(f"the API cleared {cleared} tool results where it was asked to clear {clearing.results}")
            self._told = True
        if cleared > clearing.results:
            transcript.note_cleared(Clearing(cleared, clearing.inputs))

    def _clear(self, transcript: Transcript, wanted: Clearing, tokens: int) -> None:
        before = transcript.conversation.clearing.results
        transcript.note_cleared(wanted)
        of = f" of about {tokens} tokens" if tokens else ""
        self._log.line(
            f"the conversation{of} is compacted: {wanted.results - before} more tool results are cleared,"
            f" {wanted.results} in all{', with the inputs of their calls' if wanted.inputs else ''}"
        )

    def _freed(self, conversation: Conversation) -> int:
        """Bytes that are cleared now and were not when the tokens were counted: in the last turn's request."""
        turn, now = conversation.last_turn, conversation.clearing
        is_counted = turn is not None and turn.usage is not None and turn.model == self._model
        before = conversation.counted_clearing if is_counted else Clearing()
        if before == now:
            return 0
        sizes = _sizes(conversation)
        freed = sum(size.result for size in sizes[before.results : now.results])
        if now.inputs:
            freed += sum(size.input for size in sizes[before.results if before.inputs else 0 : now.results])
        return freed


def choose_clearing(conversation: Conversation, tokens: int, least: int) -> Clearing | None:
    """The clearing that frees about so many `tokens` more, of the oldest first; None where it would not free `least`.

    The inputs of the calls go too only where the results alone are not half of it.
    """
    now, sizes = conversation.clearing, _sizes(conversation)
    most = len(sizes) - sum(1 for line in conversation.since_last_turn if line.kind is LineKind.TOOL_RESULT)
    freed, count = 0, now.results
    while count < most and freed < tokens * BYTES_PER_TOKEN:
        freed += sizes[count].result + (sizes[count].input if now.inputs else 0)
        count += 1
    if freed * 2 >= tokens * BYTES_PER_TOKEN or now.inputs:
        return Clearing(count, now.inputs) if freed >= least * BYTES_PER_TOKEN else None
    whole = freed + sum(size.input for size in sizes[:count])
    return Clearing(count, inputs=True) if whole >= least * BYTES_PER_TOKEN else None


def _sizes(conversation: Conversation) -> list[_Size]:
    inputs = {use["id"]: bytes_of(use["input"]) for turn in conversation.turns for use in tool_uses(turn.content)}
    return [_Size(inputs.get(line.tool_use_id, 0), bytes_of(line.content)) for line in conversation.results]
