"""A question of the model's, completed: its error in its own words, where the model left that out. Pure."""

from __future__ import annotations

from haikud.agent.haiku.conversation import Conversation
from haikud.agent.haiku.prompt import INTERRUPTED, NOT_RUN
from haikud.contracts.attempt import Question

MOST_CHARACTERS = 2_000
"""Of a command's output that go into a question; the log has all of it."""


def completed(question: Question, conversation: Conversation) -> Question:
    """The question with the end of what the last command said, where that command failed and nothing else is told."""
    if question.error_details.strip():
        return question
    return question.model_copy(update={"error_details": _last_failure(conversation)})


def _last_failure(conversation: Conversation) -> str:
    """What the last command printed; nothing where it succeeded or never ran."""
    for line in conversation.results_of("bash"):
        block = line.content[0] if line.content else {}
        text = "\n".join(str(part.get("text", "")) for part in block.get("content", []))
        if text in {INTERRUPTED, NOT_RUN}:
            continue
        return text[-MOST_CHARACTERS:].strip() if block.get("is_error") else ""
    return ""
