"""The record of a question, escalation-NNNN.json: whether and since when it was published, and how often again.

`open_since` in it is the mark: set, durably, after everything that lay in guidance/ for the task was set aside, and
before the question is put into escalations/. So an answer that is found later was dropped when the question could be
read. No clock is asked for that. Reads only.
"""

from __future__ import annotations

from haikud.contracts.completion import EscalationPayload
from haikud.contracts.envelope import Response
from haikud.engine.board import OpenTask
from haikud.engine.words import name_escalation
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, read_model


def read_question(layout: SpoolLayout, entry: OpenTask) -> tuple[Response, EscalationPayload] | None:
    """The record of a task's newest question, and its payload; None where there is none that can be read."""
    if entry.decision.escalation is None:
        return None
    try:
        record = read_model(layout.task(entry.ref).escalation(entry.decision.escalation), Response)
        return (record, EscalationPayload.model_validate(record.payload)) if record else None
    except (UnreadableFile, ValueError):
        return None


def was_published(layout: SpoolLayout, entry: OpenTask) -> bool:
    """Whether somebody may have seen the task's open question. One without a record is known to nobody but us."""
    found = read_question(layout, entry)
    if found is None:
        return (layout.escalations / f"{entry.ref}.json").exists()
    return found[1].open_since is not None or _lies_there(layout, entry)


def _lies_there(layout: SpoolLayout, entry: OpenTask) -> bool:
    """Whether escalations/ has that very question: so an earlier haikud published them, without a mark."""
    wanted = name_escalation(entry.ref, entry.decision.escalation or 0)
    there = read_published(layout, entry.ref)
    return there is not None and there.payload.get("escalation_id") == wanted


def read_published(layout: SpoolLayout, ref: str) -> Response | None:
    """What lies in escalations/ for a task; None where that is nothing that can be read."""
    try:
        return read_model(layout.escalations / f"{ref}.json", Response)
    except UnreadableFile:
        return None
