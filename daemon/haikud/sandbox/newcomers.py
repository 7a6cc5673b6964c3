"""Who has started since a moment: one listing of /proc, and a look at those alone that are not known from before.

A process is older than everything that it starts. So of an attempt's tree nobody is older than the attempt (but its
runner, where that was forked ahead: its end is seen), and of the hundreds that a machine runs all but a few are out of
the question. When a process started never changes; which process a pid stands for may. Besides the pid the listing
gives each one's inode: the kernel makes a new one for a new process (since Linux 2.6.37, and drops the old one when
that ends), so that a pair that is known is the process that it was. A pair that is not known, for whatever reason, is
merely looked at once more.

One look serves all who wait for it: where many attempts end at once each process is read twice, and not twice for each
attempt, in as many threads that take the interpreter from the daemon's loop.

Raises OSError where the machine refuses a look, as process_table.py does.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from haikud.sandbox.cgroups import is_populated
from haikud.sandbox.process_table import Seen, command_line, look_at, marker_entries, marker_entry

LOOKS = 2
"""Without a find, one after the other: who forks while /proc is listed may be missed by one."""

_KERNEL = 2
"""The parent of the kernel's own threads, which have no environment: kthreadd."""


def boot_ticks() -> int:
    """Now, as the start times of processes are counted: nobody who starts from now on is older."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) - 1


Belongs = Callable[[Seen, bytes], bool]
"""Whether a process, with that command line, belongs to an attempt by another sign than its marker."""


@dataclass(eq=False)
class _Question:
    """Whether one attempt is over."""

    since: int
    mark: bytes
    cgroups: Sequence[Path]
    belongs: Belongs
    is_unsure: bool = False  # by the last look
    answer: bool | None = None


class Newcomers:
    """Remembers, from look to look, when each process started. Of any thread, and of several at once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}  # pid -> inode, start in clock ticks since boot
        self._looking = threading.Lock()
        self._asked: deque[_Question] = deque()  # for whom no look has begun yet

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

    def has_left_nobody(self, since: int | None, marker: str, cgroups: Sequence[Path], belongs: Belongs) -> bool:
        """Whether an attempt is over that began `since`, and whose processes are known by these signs.

        False is no proof of the contrary, nor for one of which that is not known (None): then `trees.end_tree` looks
        at everybody. `belongs` may be asked in another thread, while this one waits.
        """
        if since is None:
            return False
        question = _Question(since, marker_entry(marker), cgroups, belongs)
        self._asked.append(question)
        with self._looking:
            if question.answer is None:  # else a look that began after we had asked has told
                others = [self._asked.popleft() for _ in range(len(self._asked))]
                self._answer([question, *(one for one in others if one is not question)])
        return question.answer is True

    def _answer(self, questions: list[_Question]) -> None:
        met: set[tuple[int, int]] = set()
        earliest = min(one.since for one in questions)
        for _ in range(LOOKS):
            for one in questions:
                one.is_unsure = False
            for seen in self.since(earliest, met):
                if _is_settled(seen, questions):
                    met.add(seen.key)
            for one in questions:
                if one.answer is None and any(is_populated(folder) for folder in one.cgroups):
                    one.answer = False
            questions = [one for one in questions if one.answer is None]
            if not questions:
                return
        for one in questions:
            one.answer = not one.is_unsure


def _is_settled(seen: Seen, questions: Sequence[_Question]) -> bool:
    """Answer with No whom this process belongs to; False: it is to be looked at again, for what it is is not clear."""
    if not seen.alive or seen.pid == os.getpid():
        return True
    marks, line = marker_entries(seen.pid), command_line(seen.pid)
    is_clear = marks is not None or seen.parent == _KERNEL  # else it may be executing a program just now
    for one in questions:
        if seen.started < one.since:
            continue
        if (marks is not None and one.mark in marks) or one.belongs(seen, line):
            one.answer = False
        elif not is_clear:
            one.is_unsure = True
    return is_clear
