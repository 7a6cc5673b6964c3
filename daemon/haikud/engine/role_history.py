"""What the last finished tasks of each role took: in memory, and now and then in role-history.json.

Only tasks that succeeded count: one that could not even start says nothing of what its like cost. The file is derived
and not fsynced; where it is missing or broken, estimates begin anew with the next task that finishes. It is small
whatever the history is (at most MOST_ROLES roles and MOST_TASKS tasks each), so that reading it at the start of the
daemon takes no longer after 100,000 plans.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.role_history import MOST_ROLES, MOST_TASKS, FinishedTask, RoleHistoryRecord
from haikud.engine.estimates import Typical, median
from haikud.spool.durable import write_quickly
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump_as_is, read_model

SECONDS_BETWEEN = 60.0


@dataclass
class RoleHistory:
    """Role -> what its last finished tasks took."""

    path: Path
    roles: dict[str, list[FinishedTask]] = field(default_factory=dict)
    is_changed: bool = False
    changes: int = 0  # how many were added since the start
    write_at: float = float("-inf")  # not before, monotonic seconds
    _typical: dict[str, Typical] = field(default_factory=dict)

    def add(self, role: str, finished: FinishedTask) -> None:
        """One more task of that role has succeeded."""
        tasks = [*self.roles.pop(role, ()), finished][-MOST_TASKS:]
        self.roles[role] = tasks  # the last one now
        for oldest in list(self.roles)[:-MOST_ROLES]:
            del self.roles[oldest]
            self._typical.pop(oldest, None)
        self._typical.pop(role, None)
        self.is_changed = True
        self.changes += 1

    def typical(self, role: str) -> Typical | None:
        """The medians of that role; None where nothing of it has finished."""
        tasks = self.roles.get(role)
        if not tasks:
            return None
        if role not in self._typical:
            self._typical[role] = Typical(
                cost_usd=median([task.cost_usd for task in tasks]),
                sonnet_cost_usd=median([task.sonnet_cost_usd for task in tasks]),
                seconds=median([task.seconds for task in tasks]),
                tasks=len(tasks),
            )
        return self._typical[role]

    def record(self) -> RoleHistoryRecord:
        """As it goes on disk: a copy, for another thread to write."""
        return RoleHistoryRecord(roles={role: list(tasks) for role, tasks in self.roles.items()})


def read_role_history(layout: SpoolLayout) -> RoleHistory:
    """As an earlier daemon left it; empty where it cannot be read."""
    path = layout.role_history_file
    record = None
    with suppress(OSError, UnreadableFile):
        record = read_model(path, RoleHistoryRecord)
    roles = {role: tasks[-MOST_TASKS:] for role, tasks in record.roles.items() if tasks} if record else {}
    return RoleHistory(path, roles)


def write_role_history(path: Path, record: RoleHistoryRecord) -> bool:
    """Replace the file; False where the machine refuses: nothing but estimates after a restart depends on it."""
    try:
        write_quickly(path, dump_as_is(record))
    except OSError:
        return False
    return True
