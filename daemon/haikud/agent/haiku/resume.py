"""Taking a conversation up: a new one begins with the assignment, an old one goes on from what the transcript says.

Promises: a tool call without a recorded result is not made again, the model is told so; every answer that was given on
the task is said before the model speaks again, and once, however often the attempt that brings it is broken off; an
ending that was never acted on (done, a question) is reported again without a call.
"""

from __future__ import annotations

from haikud.agent.guidance import message_of
from haikud.agent.haiku.asking import completed
from haikud.agent.haiku.conversation import Conversation, tool_uses
from haikud.agent.haiku.order import AgentEnds, HaikuOrder
from haikud.agent.haiku.prompt import CONTINUE, INTERRUPTED, first_message
from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.haiku.tools.report import ESCALATE, ESCALATED, question_of
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.attempt import Question
from haikud.contracts.transcript import LineKind


def take_up(order: HaikuOrder, transcript: Transcript) -> None:
    """Bring the conversation to where the model is to speak. AgentEnds where it has ended already."""
    transcript.begin(order.spec.role.model, fresh=order.spec.fresh)
    conversation = transcript.conversation
    words = _new_words(order, conversation)
    if conversation.is_empty:
        transcript.say(first_message(order), "assignment")
    else:
        _answer_open_calls(transcript)
        if not words:
            _report_again(conversation)
            if conversation.last_turn is not None and not conversation.since_last_turn:
                transcript.say(CONTINUE, "continue")
    for key, text in words.items():
        transcript.say(text, key)


def _new_words(order: HaikuOrder, conversation: Conversation) -> dict[str, str]:
    """What is to be said and was not said yet, by key."""
    words: dict[str, str] = {}
    asked = _open_question(conversation)
    for given in order.spec.guidance:
        is_its_own = asked is not None and asked.reason == given.question
        file = order.environment.get("HAIKUD_GUIDANCE_FILE")
        words[f"guidance:guidance-{given.number:04}.json"] = message_of(given, is_its_own=is_its_own, file=file)
    if order.resume_note is not None:
        words[order.spec.resume_key or f"note:{order.spec.attempt}"] = order.resume_note
    return {key: text for key, text in words.items() if not conversation.has_said(key)}


def _answer_open_calls(transcript: Transcript) -> None:
    for use in transcript.conversation.open_tool_uses:
        asks = use["name"] == ESCALATE["name"]  # asking changes nothing, so it can be done again
        transcript.record_result(use, ESCALATED if asks else INTERRUPTED, is_error=not asks)


def _report_again(conversation: Conversation) -> None:
    if conversation.is_done:
        raise AgentEnds("done", summary=conversation.last_words)
    question = _open_question(conversation)
    if question is not None:
        raise AgentEnds("escalated", summary=conversation.last_words, question=question)


def _open_question(conversation: Conversation) -> Question | None:
    """The question of the last turn, where nothing but tool results has followed."""
    turn, since = conversation.last_turn, conversation.since_last_turn
    if turn is None or any(line.kind is not LineKind.TOOL_RESULT for line in since):
        return None
    refused = {line.tool_use_id for line in since if any(block.get("is_error") for block in line.content)}
    for use in tool_uses(turn.content):
        if use["name"] == ESCALATE["name"] and use["id"] not in refused:
            try:
                return completed(question_of(use["input"]), conversation)
            except BadInput:
                continue
    return None
