"""status.json's text, put together from parts that are kept: only what has changed is written out and masked again.

Masking reads every byte with every pattern, which takes fifteen times as long as writing the JSON; of two hundred tasks
that are listed one or two have changed since the last picture. What ticks by itself (elapsed times, the estimate of the
time left) is filled in at the end. The text is that of `dump`, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeVar

from haikud.contracts.base import Model
from haikud.contracts.live import LiveStatus, PlanStatus, TaskStatus
from haikud.spool.models import dump

TICKING: dict[str, float | None] = {"elapsed_seconds": 0.0, "estimated_seconds_left": None}
"""The fields of a plan that are no change, as they stand in the part that is kept."""

M = TypeVar("M", bound=Model)


class StatusText:
    """Makes the text of one picture after the other."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[TaskStatus, bytes]] = {}  # by ref: as it was last, and its part
        self._plans: dict[str, tuple[PlanStatus, bytes]] = {}  # by id

    def parts(self, status: LiveStatus) -> list[bytes]:
        """What the picture says, without what ticks: equal to the parts of another one where nothing has changed."""
        still = status.model_copy(
            update={
                "updated_at": status.daemon.started_at,
                "tasks": [],
                "plans": [],
                "all_plans": status.all_plans and status.all_plans.model_copy(update=TICKING),
            }
        )
        self._tasks = _kept(self._tasks, ((one.ref, one) for one in status.tasks))
        self._plans = _kept(self._plans, ((one.id, one.model_copy(update=TICKING)) for one in status.plans))
        return [
            dump(still),
            *(part for _, part in self._tasks.values()),
            *(part for _, part in self._plans.values()),
        ]

    def text(self, status: LiveStatus) -> bytes:
        """The whole text; `parts` was called with this picture just before."""
        head = dump(status.model_copy(update={"tasks": [], "plans": []}))
        plans = [_ticking(self._plans[one.id][1], one) for one in status.plans]
        head = _filled(head, b"tasks", [self._tasks[one.ref][1] for one in status.tasks])
        return _filled(head, b"plans", plans)


def _kept(known: dict[str, tuple[M, bytes]], now: Iterable[tuple[str, M]]) -> dict[str, tuple[M, bytes]]:
    """The parts of those that are listed now, made anew where they have changed."""
    kept: dict[str, tuple[M, bytes]] = {}
    for name, one in now:
        before = known.get(name)
        if before is not None and (before[0] is one or before[0] == one):
            kept[name] = before
        else:
            kept[name] = (one, b"    " + dump(one).strip().replace(b"\n", b"\n    "))
    return kept


def _ticking(part: bytes, plan: PlanStatus) -> bytes:
    """A quote within a string is escaped: a field's name with its quotes is in no text."""
    for name, stands in TICKING.items():
        old, new = (f'\n      "{name}": {json.dumps(value)}'.encode() for value in (stands, getattr(plan, name)))
        part = part.replace(old, new, 1)
    return part


def _filled(head: bytes, name: bytes, parts: Sequence[bytes]) -> bytes:
    if not parts:
        return head
    empty = b'\n  "' + name + b'": []'
    return head.replace(empty, empty[:-1] + b"\n" + b",\n".join(parts) + b"\n  ]", 1)
