"""The answers that were given on a task, in the words in which an agent gets them. Pure.

A command agent gets them as a file in plain text, the built-in one as messages of its conversation.
"""

from __future__ import annotations

from collections.abc import Sequence

from haikud.contracts.guidance import GivenGuidance, GuidanceAction

MOST_CHARACTERS = 65_536
"""Of one answer that are put into a conversation; the file has all of it."""

HEADING = "## "
"""What the line with the question begins with, where there are several answers."""

_WITHOUT_WORDS = {
    GuidanceAction.RETRY: "Begin afresh. What was done before is in the worktree.",
    GuidanceAction.REASSIGN: "The task was given to you: go on with it as you think best.",
}


def words_of(given: GivenGuidance) -> str:
    """What the requester said; where that is nothing, what the answer means."""
    return given.text.strip() or _WITHOUT_WORDS.get(given.action, "Go on as you think best.")


def text_of(answers: Sequence[GivenGuidance]) -> str:
    """HAIKUD_GUIDANCE_FILE: the words alone; of several answers each under its question, the newest last."""
    if len(answers) == 1:
        return words_of(answers[0]) + "\n"
    return "\n".join(f"{_heading(given)}\n{words_of(given)}\n" for given in answers)


def message_of(given: GivenGuidance, *, is_its_own: bool, file: str | None) -> str:
    """What the model is told. `is_its_own`: it has asked that question itself, last; `file` has it all."""
    words = words_of(given)
    if len(words) > MOST_CHARACTERS:
        rest = f"; all of it stands in {file}" if file else ""
        words = f"{words[:MOST_CHARACTERS]}\n[cut here, {len(words) - MOST_CHARACTERS} characters more{rest}]"
    asked = _one_line(given.question)
    to_whom = f', to the question "{asked}"' if asked and not is_its_own else ""
    return f"Guidance from the requester{to_whom}: {words}"


def _heading(given: GivenGuidance) -> str:
    asked = _one_line(given.question)
    return f"{HEADING}{given.escalation_id}: {asked}" if asked else f"{HEADING}{given.escalation_id}"


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return f"{words[:300]}..." if len(words) > 300 else words
