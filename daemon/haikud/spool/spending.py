"""What an attempt without a gateway has spent, by the transcript: the truth about one that left no result.

Behind the gateway its journal is the truth (usage.json), and a transcript tells only what was charged until then.

Without one every call is noted durably before it is made, with the most that it can cost, and again when it has ended,
with what it did cost. A call whose end is not there was under way when the runner died: the API counts it, nobody can
say how much, so it counts as the most. That way no budget is ever crossed because money was forgotten. Reads only; a
line that a bad disk broke is left out.
"""

from __future__ import annotations

from pathlib import Path

from haikud.contracts.transcript import LineKind, TranscriptLine
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.spool.models import iter_lines

_ENDS = frozenset({LineKind.ASSISTANT, LineKind.REFUSED, LineKind.PAID})


def spent_by_transcript(path: Path, attempt: int) -> tuple[UsageTotal, dict[str, UsageTotal]]:
    """What that attempt spent, in all and by model; nothing where there is no transcript."""
    total = UsageTotal()
    by_model: dict[str, UsageTotal] = {}
    for entry in _entries(path, attempt):
        total = total.plus_entry(entry)
        by_model[entry.model] = by_model.get(entry.model, UsageTotal()).plus_entry(entry)
    return total, by_model


def began_afresh(path: Path, attempt: int) -> bool:
    """Whether that attempt left the old conversation behind; True also where there is none to leave."""
    lines = list(iter_lines(path, TranscriptLine))
    return not lines or any(line.kind is LineKind.FRESH and line.attempt == attempt for line in lines)


def _entries(path: Path, attempt: int) -> list[UsageEntry]:
    entries: list[UsageEntry] = []
    under_way: UsageEntry | None = None
    for line in iter_lines(path, TranscriptLine):
        if line.attempt != attempt:
            continue
        if line.kind is LineKind.CALL:
            entries += [under_way] if under_way is not None else []  # its end was on a line that broke
            under_way = line.usage
        elif line.kind in _ENDS:
            under_way = None
            entries += [line.usage] if line.usage is not None else []
    return [*entries, under_way] if under_way is not None else entries
