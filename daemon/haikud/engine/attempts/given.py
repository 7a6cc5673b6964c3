"""The answers that were given on a task so far, read for its next attempt.

All of them go into its order, not the newest alone: a fresh conversation, another agent, or one whose attempt died
before it spoke has not seen the earlier ones. The order is what counts from then on; no attempt reads these files.

Fails with LostGuidance where the newest, which no agent may have seen, cannot be read any more: then the requester is
asked again. An earlier one that cannot be read is said to be lost in its place.
"""

from __future__ import annotations

from haikud.contracts.attempt import Question
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.guidance import GivenGuidance, Guidance, GuidanceAction
from haikud.engine.words import name_escalation
from haikud.spool.layout import TaskPaths
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.store import Store


class LostGuidance(Exception):  # noqa: N818 - reads as what it is
    """An answer that was taken is there no more; the message says which and why."""

    def __init__(self, escalation_id: str, asked: str, why: str) -> None:
        super().__init__(f"the answer to {escalation_id} cannot be read any more: {why}")
        self.question = Question(
            reason=f"Please answer once more: {self}",
            blocker=asked or f"The question {escalation_id} is open again",
            context=[f"It had asked: {asked}"] if asked else [],
            options=["Give the same answer again", "Cancel the task"],
            recommendation="Give the same answer again, and look at the disk: the answer was durable once",
        )


def read_given(store: Store, last: Decision) -> list[GivenGuidance]:
    """The answers to a task's questions so far, the oldest first; `last` is its decision. LostGuidance, OSError."""
    ref, paths = last.ref, store.layout.task(last.ref)
    numbers = sorted({one.guidance for one in (*store.decisions(ref), last) if one.guidance})
    given: list[GivenGuidance] = []
    for number in numbers:
        asked, escalation_id = asked_as(paths, number), name_escalation(ref, number)
        try:
            found = read_model(paths.guidance(number), Guidance)
            why = "it is missing"
        except UnreadableFile as error:
            found, why = None, error.why
        if found is None and last.guidance == number:
            raise LostGuidance(escalation_id, asked, why)
        given.append(
            GivenGuidance(
                number=number,
                escalation_id=escalation_id,
                question=asked,
                text=found.text if found else f"(This answer cannot be read any more: {why}.)",
                action=found.action if found else GuidanceAction.CONTINUE,
                role=found.role if found else None,
                model=found.model if found else None,
            )
        )
    return given


def asked_as(paths: TaskPaths, number: int) -> str:
    """Why a question was asked; nothing where that cannot be read: it is only there to remind."""
    try:
        asked = read_model(paths.escalation(number), Response)
    except UnreadableFile:
        return ""
    reason = asked.payload.get("reason") if asked else None
    return reason if isinstance(reason, str) else ""
