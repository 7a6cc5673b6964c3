"""Scheduling: which queued task starts next. Pure: functions of values, tested in microseconds.

Order is priority, then the plan's age, then the place in the plan; a task that comes again after a failure counts its
age from then, and so lines up behind those that wait (board.py). A task whose turn it is may be held back by its
repository's limit, or by a running task of the same repository that declares the same file; others then go first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

Rank = tuple[int, datetime, str, int]
"""Priority's rank, the plan's admission (or when it was queued again), its id, the place in the plan: smaller starts
first."""


@dataclass(frozen=True)
class Candidate:
    """What scheduling needs to know of a task, queued or running."""

    ref: str
    rank: Rank
    repository: str | None = None  # its git common dir
    files: frozenset[str] = frozenset()  # that it declares


@dataclass(frozen=True)
class Pick:
    """The next task to start, if any, and who waits for whom because of a declared file."""

    chosen: Candidate | None
    held_back: Mapping[str, tuple[str, str]]  # ref -> (the running task's ref, the file)


def pick_next(
    queued: Iterable[Candidate],
    running: Iterable[Candidate],
    *,
    max_agents: int,
    per_repository: int | None = None,
    passed_over: frozenset[str] = frozenset(),
) -> Pick:
    """The first of `queued` (in order of rank) that may start beside `running`.

    `passed_over` are refs that must not start in this round for other reasons, such as a spent budget.
    """
    at_work = list(running)
    held_back: dict[str, tuple[str, str]] = {}
    if len(at_work) >= max_agents:
        return Pick(None, held_back)
    limit = max_agents if per_repository is None else per_repository
    counts: dict[str, int] = {}
    for one in at_work:
        if one.repository is not None:
            counts[one.repository] = counts.get(one.repository, 0) + 1
    for candidate in queued:
        if candidate.ref in passed_over:
            continue
        if candidate.repository is not None and counts.get(candidate.repository, 0) >= limit:
            continue
        rival = _rival(candidate, at_work)
        if rival is not None:
            held_back[candidate.ref] = rival
            continue
        return Pick(candidate, held_back)
    return Pick(None, held_back)


def _rival(candidate: Candidate, at_work: list[Candidate]) -> tuple[str, str] | None:
    """The running task of the same repository that declares a file of the candidate's, and that file."""
    if candidate.repository is None or not candidate.files:
        return None
    for other in at_work:
        if other.repository == candidate.repository:
            shared = candidate.files & other.files
            if shared:
                return other.ref, min(shared)
    return None
