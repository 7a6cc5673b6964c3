"""Estimates: what open tasks will cost and when they will be done, by what finished tasks of their roles took. Pure.

A guess for people, never a reason for anything: no budget and no decision reads it. Where nothing of a role has
finished there is no estimate, rather than one made up.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Typical:
    """The medians of a role's last finished tasks: one that ran wild does not move them."""

    cost_usd: float
    sonnet_cost_usd: float
    seconds: float
    tasks: int  # that it is from


@dataclass(frozen=True)
class Ahead:
    """An open task, as the estimate of time sees it."""

    ref: str
    seconds: float  # of work that is left
    after: Sequence[str] = ()  # refs of its dependencies
    is_running: bool = False
    starts_in: float = 0.0  # seconds before which it does not start: a deferred task


def median(values: Sequence[float]) -> float:
    """The middle value; between the middle two where their number is even. ValueError where there are none."""
    if not values:
        msg = "no values have no median"
        raise ValueError(msg)
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def estimated_cost(spent_usd: float, typical_usd: float) -> float:
    """What an open task will have cost: what its like did, or what it has spent already, if that is more."""
    return max(spent_usd, typical_usd)


def savings(cost_usd: float, sonnet_cost_usd: float) -> tuple[float, float]:
    """Dollars and percent saved against the same requests on Sonnet; below 0 where nothing was."""
    saved = round(sonnet_cost_usd - cost_usd, 9) + 0.0
    return saved, round(100 * saved / sonnet_cost_usd, 1) + 0.0 if sonnet_cost_usd > 0 else 0.0


def done_in(tasks: Sequence[Ahead], max_agents: int) -> dict[str, float]:
    """Ref -> in how many seconds it will be done, were `max_agents` all that holds tasks back beside dependencies.

    `tasks` in the order in which they are to start. A dependency that is not among them is done already. A task that
    can never start (its dependencies wait for one another: admission refuses that) is left out. Files that running
    tasks share, limits of a repository and of the API are not looked at.
    """
    agents = max(1, max_agents)
    known = {task.ref for task in tasks}
    missing = {task.ref: known.intersection(task.after) for task in tasks}
    dependants: dict[str, list[int]] = {}
    for place, task in enumerate(tasks):
        for ref in missing[task.ref]:
            dependants.setdefault(ref, []).append(place)
    first = [(-1.0, place) for place, task in enumerate(tasks) if task.is_running]
    ready = [(task.starts_in, n) for n, task in enumerate(tasks) if not task.is_running and not missing[task.ref]]
    ready = [*first, *ready]  # from when on, and its place: what runs goes first
    heapq.heapify(ready)
    busy: list[float] = []  # until when each agent is
    ends: dict[str, float] = {}
    while ready:
        at, place = heapq.heappop(ready)
        task = tasks[place]
        while len(busy) >= agents and not task.is_running:
            at = max(at, heapq.heappop(busy))
        end = max(0.0, at) + max(0.0, task.seconds)
        heapq.heappush(busy, end)
        ends[task.ref] = end
        for other in dependants.get(task.ref, ()):
            missing[tasks[other].ref].discard(task.ref)
            if not missing[tasks[other].ref] and not tasks[other].is_running:
                last = max(ends[ref] for ref in known.intersection(tasks[other].after))
                heapq.heappush(ready, (max(last, tasks[other].starts_in), other))
    return ends


def done_in_waves(
    running: Sequence[float], waiting: Mapping[str, int], typical: Mapping[str, float], agents: int
) -> float:
    """In how many seconds very many tasks will be done, about: their work shared out evenly, dependencies passed over.

    `running`: seconds left of each that runs; `waiting`: role -> how many wait; `typical`: role -> seconds of one.
    """
    work = sum(max(0.0, seconds) for seconds in running)
    work += sum(count * typical[role] for role, count in waiting.items())
    return max([work / max(1, agents), *running, 0.0])
