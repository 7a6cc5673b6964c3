"""Scheduling: which queued task starts next. Pure: functions of values, tested in microseconds.

Order is priority, then the plan's age, then the place in the plan; a task that comes again after a failure counts its
age from then, and so lines up behind those that wait (board.py). A task whose turn it is may be held back by its
repository's limit, or by a running task of the same repository that declares the same file; others then go first.

Who is next must not take longer to find the more there are who wait (`Line`): a repository at its limit is passed over
as a whole, and who was found to wait for a file stands aside, with all others that wait for it, until it is free.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from operator import attrgetter

Rank = tuple[int, datetime, str, int]
"""Priority's rank, the plan's admission (or when it was queued again), its id, the place in the plan: smaller starts
first."""

NO_FILES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What scheduling needs to know of a task, queued or running."""

    ref: str
    rank: Rank
    repository: str | None = None  # its git common dir
    files: frozenset[str] = NO_FILES  # that it declares


@dataclass(frozen=True)
class Pick:
    """The next task to start, if any, and who waits for whom because of a declared file."""

    chosen: Candidate | None
    held_back: Mapping[str, tuple[str, str]]  # found just now: ref -> (the running task's ref, the file)


class Line:
    """Queued tasks in the order of their ranks, those of each repository in a line of its own."""

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._repositories: dict[str | None, _RepositoryLine] = {}
        for one in candidates:
            self.add(one)

    def add(self, one: Candidate) -> None:
        """It lines up."""
        line = self._repositories.get(one.repository)
        if line is None:
            line = self._repositories[one.repository] = _RepositoryLine()
        line.add(one)

    def remove(self, one: Candidate) -> None:
        """It leaves, if it is there."""
        line = self._repositories.get(one.repository)
        if line is not None and line.remove(one):
            del self._repositories[one.repository]

    def __iter__(self) -> Iterator[Candidate]:
        """All of them in their order, whatever holds them back."""
        found = [one for line in self._repositories.values() for part in line.parts() for one in part]
        return iter(sorted(found, key=_rank_of))

    def walk(self, at_work: Mapping[str | None, list[Candidate]], full: set[str | None], held: _Held) -> _Walk:
        """Those that may start beside the running ones, in their order, found as they are asked for.

        `at_work`: by repository; `full`: repositories of which none may start; `held` is told who stands aside.
        """
        lines = [
            (line, at_work.get(repository, []))
            for repository, line in self._repositories.items()
            if repository not in full
        ]
        if len(lines) == 1:
            yield from lines[0][0].walk(lines[0][1], held)
            return
        heads = [
            (first.rank, number, first, rest)
            for number, (line, running) in enumerate(lines)
            for rest in (line.walk(running, held),)
            if (first := next(rest, None)) is not None
        ]
        heapify(heads)
        while heads:
            _, number, first, rest = heads[0]
            yield first
            if (after := next(rest, None)) is not None:
                heapreplace(heads, (after.rank, number, after, rest))
            else:
                heappop(heads)


_rank_of = attrgetter("rank")

_Part = list[Candidate]
_Held = Callable[[Candidate, tuple[str, str]], None]
_Walk = Iterator[Candidate]


class _RepositoryLine:
    """The queued tasks of one repository: those that nothing is known to hold back, and by file those that wait."""

    def __init__(self) -> None:
        self._free: _Part = []
        self._aside: dict[str, _Part] = {}  # the file that a running task was found to declare -> who waits for it
        self._waits_for: dict[str, str] = {}  # ref -> that file

    def add(self, one: Candidate) -> None:
        insort(self._free, one, key=_rank_of)

    def remove(self, one: Candidate) -> bool:
        """Whether nobody is left."""
        file = self._waits_for.pop(one.ref, None)
        part = self._free if file is None else self._aside[file]
        place = bisect_left(part, one.rank, key=_rank_of)
        if place < len(part) and part[place].ref == one.ref:
            del part[place]
        if file is not None and not part:
            del self._aside[file]
        return not self._free and not self._aside

    def parts(self) -> list[_Part]:
        return [self._free, *self._aside.values()]

    def walk(self, at_work: list[Candidate], held: _Held) -> _Walk:
        """See Line.walk. The line may be changed between two steps only by those who do not take the next one."""
        taken = NO_FILES.union(*(one.files for one in at_work))
        parts = [self._free, *(part for file, part in self._aside.items() if file not in taken)]
        heads = [(part[0].rank, number, 0) for number, part in enumerate(parts) if part]
        heapify(heads)
        while heads:
            _, number, place = heads[0]
            part = parts[number]
            one = part[place]
            rival = None if taken.isdisjoint(one.files) else _rival(one, at_work)
            if rival is None:
                yield one
                place += 1
            else:
                self._set_aside(one, part, place, rival[1])
                held(one, rival)
            if place < len(part):
                heapreplace(heads, (part[place].rank, number, place))
            else:
                heappop(heads)

    def _set_aside(self, one: Candidate, part: _Part, place: int, file: str) -> None:
        """It waits for that file from now on; nobody looks at it until it is free."""
        del part[place]
        before = self._waits_for.get(one.ref)
        if before is not None and not part:
            del self._aside[before]
        insort(self._aside.setdefault(file, []), one, key=_rank_of)
        self._waits_for[one.ref] = file


def pick_next(
    queued: Line,
    running: Iterable[Candidate],
    *,
    max_agents: int,
    per_repository: int | None = None,
    may_start: Callable[[str], bool] = lambda _: True,
    closed: Iterable[str | None] = (),
) -> Pick:
    """The first of `queued` that may start beside `running`.

    `may_start` says of a ref whether it may in this round, for other reasons such as a spent budget; of the
    repositories in `closed` none may. Who stands aside for a file stays so until it is free.
    """
    at_work = list(running)
    held_back: dict[str, tuple[str, str]] = {}
    if len(at_work) >= max_agents:
        return Pick(None, held_back)
    limit = max_agents if per_repository is None else per_repository
    by_repository: dict[str | None, list[Candidate]] = {}
    for one in at_work:
        if one.repository is not None:  # tasks without one have no limit, and no files
            by_repository.setdefault(one.repository, []).append(one)
    full = {*closed, *(name for name, theirs in by_repository.items() if len(theirs) >= limit)}

    def held(one: Candidate, rival: tuple[str, str]) -> None:
        held_back[one.ref] = rival

    chosen = next((one for one in queued.walk(by_repository, full, held) if may_start(one.ref)), None)
    return Pick(chosen, held_back)


def rival_of(candidate: Candidate, running: Iterable[Candidate]) -> str | None:
    """The running task that holds it back by a declared file."""
    rival = _rival(candidate, [one for one in running if one.repository == candidate.repository])
    return rival[0] if rival and candidate.repository is not None else None


def _rival(candidate: Candidate, at_work: list[Candidate]) -> tuple[str, str] | None:
    """The running task of its repository that declares a file of the candidate's, and that file."""
    for other in at_work:
        shared = candidate.files & other.files
        if shared:
            return other.ref, min(shared)
    return None
