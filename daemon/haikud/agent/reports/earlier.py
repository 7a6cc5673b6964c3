"""What earlier attempts of the task came to, from their results: for what to do otherwise now, and for the report."""

from __future__ import annotations

from itertools import pairwise

from haikud.agent.attempt import Attempt
from haikud.contracts.attempt import Result
from haikud.contracts.states import AttemptOutcome
from haikud.spool.models import UnreadableFile, read_model

MOST_EARLIER = 10
"""So many attempts are looked back on."""


def earlier_results(attempt: Attempt) -> list[Result]:
    """The results of the attempts just before this one, oldest first; those that left none are left out."""
    found: list[Result] = []
    for number in range(max(1, attempt.spec.attempt - MOST_EARLIER), attempt.spec.attempt):
        try:
            result = read_model(attempt.task_paths.attempt(number).result, Result)
        except (UnreadableFile, OSError):
            continue
        if result is not None:
            found.append(result)
    return found


def what_was_tried(attempt: Attempt) -> list[str]:
    """The failed attempts that led to this one, in words: only the unbroken row before it counts as tried against."""
    row: list[Result] = []
    for result in reversed(earlier_results(attempt)):
        if result.outcome is not AttemptOutcome.EXITED_WITH_ERROR or result.error_report is None:
            break
        row.insert(0, result)
    if attempt.spec.retry_reason is None or not row:
        return []
    ends = [*[(one.ended_at, after.began_at) for one, after in pairwise(row)], (row[-1].ended_at, attempt.began_at)]
    lines = []
    for result, (ended, began) in zip(row, ends, strict=True):
        kind = f" ({result.failure_class})" if result.failure_class else ""
        waited = (began - ended).total_seconds()
        assert result.error_report is not None  # noqa: S101 -- for the type checker; see the row above
        said = " ".join(result.error_report.error.message.split())[:200]
        lines.append(f"Attempt {result.attempt} failed{kind}: {said}; tried again after {waited:.0f} s")
    return lines
