"""A task's questions and their answers, as its own answer tells of them: what each half of the work cost.

Reads only. What cannot be read is left out: the answer must not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from haikud.contracts.completion import EscalationPayload, EscalationTold
from haikud.contracts.envelope import Response
from haikud.contracts.guidance import Guidance
from haikud.spool.layout import TaskPaths
from haikud.spool.models import UnreadableFile, read_model


def read_told(paths: TaskPaths, newest: int | None) -> list[EscalationTold]:
    """Questions 1 to `newest` with their answers, in order; without what each has cost since."""
    told = [_read_one(paths, number) for number in range(1, (newest or 0) + 1)]
    return [one for one in told if one is not None]


def with_costs(told: Sequence[EscalationTold], total: float) -> list[EscalationTold]:
    """The same with `cost_since`: from each question to the next one, or to the end. Pure."""
    marks = [*(one.cost_so_far for one in told), total]
    spent = [round(max(0.0, later - earlier), 9) for earlier, later in pairwise(marks)]
    return [one.model_copy(update={"cost_since": usd}) for one, usd in zip(told, spent, strict=True)]


def _read_one(paths: TaskPaths, number: int) -> EscalationTold | None:
    try:
        record = read_model(paths.escalation(number), Response)
        asked = EscalationPayload.model_validate(record.payload) if record else None
    except (UnreadableFile, ValueError):
        return None
    if record is None or asked is None:
        return None
    try:
        answer = read_model(paths.guidance(number), Guidance)
    except UnreadableFile:
        answer = None
    return EscalationTold(
        escalation_id=asked.escalation_id,
        asked_at=asked.open_since or record.timestamp,
        reason=asked.reason,
        cost_so_far=asked.cost_so_far,
        answered_at=answer.at if answer else None,
        action=str(answer.action) if answer else None,
        guidance=answer.text if answer else "",
        role=answer.role if answer else None,
        model=answer.model if answer else None,
        metadata=answer.metadata if answer else {},
        main_agent=answer.main_agent if answer else None,
        warnings=answer.warnings if answer else [],
    )
