"""Who has started since a moment: one listing of /proc, and a look at those alone that are not known from before.

A process is older than everything that it starts. So of an attempt's tree nobody is older than the attempt (but its
runner, where that was forked ahead: its end is seen), and of the hundreds that a machine runs all but a few are out of
the question. When a process started never changes; which process a pid stands for may. Besides the pid the listing
gives each one's inode: the kernel makes a new one for a new process (since Linux 2.6.37, and drops the old one when
that ends), so that a pair that is known is the process that it was. A pair that is not known, for whatever reason, is
merely looked at once more.

Raises OSError where the machine refuses a look, as process_table.py does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from haikud.sandbox.cgroups import is_populated
from haikud.sandbox.process_table import Seen, look_at, look_for_marker

LOOKS = 2
"""Without a find, one after the other: who forks while /proc is listed may be missed by one."""

_KERNEL = 2
"""The parent of the kernel's own threads, which have no environment: kthreadd."""


def boot_ticks() -> int:
    """Now, as the start times of processes are counted: nobody who starts from now on is older."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) - 1


class Newcomers:
    """Remembers, from look to look, when each process started. Of any thread, and of several at once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}  # pid -> inode, start in clock ticks since boot

    def since(self, ticks: int, but: AbstractSet[tuple[int, int]] = frozenset()) -> list[Seen]:
        """The processes that started at `ticks` (clock ticks since boot) or later; of `but` none is looked at again."""
        known, there, found = self._known, dict[str, tuple[int, int]](), list[Seen]()
        with os.scandir("/proc") as listing:
            for entry in listing:
                name = entry.name
                before = known.get(name)
                if before is not None and before[0] == entry.inode():
                    there[name] = before
                    if before[1] < ticks or (int(name), before[1]) in but:
                        continue
                seen = look_at(int(name)) if name.isdigit() else None
                if seen is None:
                    continue
                there[name] = (entry.inode(), seen.started)
                if seen.started >= ticks:
                    found.append(seen)
        self._known = there
        return found

    def has_left_nobody(
        self, since: int | None, marker: str, cgroups: Sequence[Path], belongs: Callable[[Seen], bool]
    ) -> bool:
        """Whether an attempt is over that began `since`, and whose processes are known by these signs.

        False is no proof of the contrary, nor for one of which that is not known (None): then `trees.end_tree` looks
        at everybody.
        """
        if since is None:
            return False
        met: set[tuple[int, int]] = set()
        unsure = False
        for _ in range(LOOKS):
            unsure = False
            for seen in self.since(since, met):
                if seen.alive and seen.pid != os.getpid():
                    is_marked = look_for_marker(seen.pid, marker)
                    if is_marked or belongs(seen):
                        return False
                    if is_marked is None and seen.parent != _KERNEL:  # it may be executing a program just now
                        unsure = True
                        continue
                met.add(seen.key)
            if any(is_populated(folder) for folder in cgroups):
                return False
        return not unsure
