"""The plans of open tasks in memory: those used lately as they are, the others packed into a few hundred bytes.

A plan as pydantic makes it takes 6 to 8 KB for each task, and of ten thousand that wait only a few are looked at. What
picking and status need of a task stands on the board beside it; the rest is unpacked when it is asked for, which takes
a tenth of a millisecond and reads no file: what somebody does to plan.json meanwhile changes nothing.

Safe to use from several threads: the loop's, and those that write and read for it.
"""

from __future__ import annotations

import zlib
from threading import Lock

from haikud.contracts.plan import Plan
from haikud.spool.models import line_as_is

MOST_TASKS = 300
"""Plans with so many tasks in all stay unpacked, those used last."""

LEAST_PLANS = 4
"""So many stay unpacked however large they are: else a large one would be unpacked anew after each use of another."""


def pack(data: bytes) -> bytes:
    """A plan's JSON in little room."""
    return zlib.compress(data, 1)


class KeptPlan:
    """One plan, unpacked or packed. It never changes, so that what was packed once is good for ever."""

    __slots__ = ("_packed", "_plan", "_shelf", "tasks_in_all")

    def __init__(self, plan: Plan, shelf: PlanShelf | None, packed: bytes | None = None) -> None:
        """`packed`: as `pack` made it of the file that the plan was just read from."""
        self._plan: Plan | None = plan
        self._packed = packed
        self._shelf = shelf
        self.tasks_in_all = len(plan.tasks)
        if shelf is not None:
            shelf.use(self)

    @property
    def plan(self) -> Plan:
        """The plan."""
        plan = self._plan
        if plan is None:
            assert self._packed is not None  # noqa: S101 - `pack` sets it before it takes the plan away
            plan = Plan.model_validate_json(zlib.decompress(self._packed))
            self._plan = plan
        shelf = self._shelf  # once: another thread may see it leave just now
        if shelf is not None:
            shelf.use(self)
        return plan

    @property
    def is_packed(self) -> bool:
        """Whether it takes little room just now."""
        return self._plan is None

    def pack(self) -> None:
        """Take as little room as may be."""
        plan = self._plan
        if plan is not None and self._packed is None:
            self._packed = pack(line_as_is(plan))
        self._plan = None

    def leave(self) -> None:
        """It is off the board, and soon forgotten: not worth packing."""
        shelf, self._shelf = self._shelf, None
        if shelf is not None:
            shelf.forget(self)


class PlanShelf:
    """Which plans are unpacked: those used last come last."""

    def __init__(self, most_tasks: int = MOST_TASKS, least_plans: int = LEAST_PLANS) -> None:
        self._most_tasks = most_tasks
        self._least_plans = least_plans
        self._used: dict[int, KeptPlan] = {}  # by id(): they are all alive
        self._tasks = 0
        self._lock = Lock()

    def use(self, kept: KeptPlan) -> None:
        """It is used now; those that have not been for long are packed."""
        old: list[KeptPlan] = []
        with self._lock:
            if self._used.pop(id(kept), None) is None:
                self._tasks += kept.tasks_in_all
            self._used[id(kept)] = kept
            while self._tasks > self._most_tasks and len(self._used) > self._least_plans:
                first = self._used.pop(next(iter(self._used)))
                self._tasks -= first.tasks_in_all
                old.append(first)
        for one in old:
            one.pack()

    def forget(self, kept: KeptPlan) -> None:
        """It does not count any more."""
        with self._lock:
            if self._used.pop(id(kept), None) is not None:
                self._tasks -= kept.tasks_in_all
