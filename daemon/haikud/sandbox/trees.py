"""Ending a process means its tree: TERM, a grace period, KILL, then proof that nothing is left.

Who belongs to a tree: the given pids, their descendants, everyone in a session that one of them leads, every process
whose environment carries the attempt's marker (HAIKUD_OUT), everyone in the attempt's cgroup where it has one, whom
else the caller recognises, and, where we are a subreaper, the orphans that came to us. Once seen, a process stays a
member until it is dead, whatever becomes of its parent, session or environment.

Processes fork while they are being killed; so before KILL all members are frozen, whole process groups in one stroke,
until a look finds no new one, and the tree counts as empty only after two empty looks; where we are a subreaper, only
when no orphan has come to us either: that finds those who fork and end faster than we look. Zombies are dead; where we
are a subreaper, orphaned ones are reaped. Never touched: ourselves and `spare`.

What survives even KILL (a process that changed its user, one stuck in the kernel) raises TreeStillAlive. A process
that cleared its environment and whose parents had ended before the first look is not held: there is nothing left that
ties it to the attempt, unless we are the subreaper or it has a cgroup. A look that the machine refuses raises OSError.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from haikud.sandbox.cgroups import is_populated, kill_cgroup, processes_in
from haikud.sandbox.prctl import is_subreaper
from haikud.sandbox.process_table import (
    Seen,
    carries_marker,
    describe,
    look_at,
    look_at_all,
    own_children,
    reap,
    send_signal,
    signal_group,
)

KILL_SECONDS = 10.0
"""How long the kernel may take to carry out a KILL, before we say that it did not."""

_FREEZES = 8
"""Looks for newcomers before the next KILL, at most: who forks faster than we look is thinned out in between."""

_CROWD = 500
"""A tree of more processes gets no grace: it is running away."""

_CHASE_SECONDS = 0.05
_MOST_DESCRIBED = 5
_FIRST_WAIT = 0.002
_LONGEST_WAIT = 0.05


class TreeStillAlive(RuntimeError):  # noqa: N818 -- the name says what is the case
    """Processes of an attempt are still there after KILL."""

    def __init__(self, left: list[str]) -> None:
        self.left = left
        super().__init__(f"still alive {KILL_SECONDS:g} s after KILL: {'; '.join(left)}")


def end_tree(
    *,
    marker: str | None,
    pids: Iterable[int],
    grace: float,
    spare: AbstractSet[int] = frozenset(),
    orphans_but: AbstractSet[int] | None = None,
    cgroups: Sequence[Path] = (),
    belongs: Callable[[Seen], bool] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> list[str]:
    """End the tree of `pids` and `marker`; what was ended, as `PID COMMAND LINE`. Raises TreeStillAlive and OSError.

    `grace` is the seconds between TERM and KILL; 0 kills at once. `orphans_but`: our own children belong to the tree
    too, but for these pids; only for a subreaper whose every other child is the tree's. `cgroups`: everyone there
    belongs to the tree; they are empty in the end, and for the caller to remove. `belongs` is asked about every living
    process at every look. `meanwhile` is called while waiting, at least every 50 ms (to read a pipe that the dying
    write to). The pids given are never reaped: whoever started them waits for them.
    """
    tree = _Tree(marker, frozenset(pids), frozenset(spare) | {os.getpid()}, orphans_but, cgroups, belongs)
    ended: dict[tuple[int, int], str] = {}
    _terminate(tree, ended, grace, meanwhile)
    _kill(tree, ended, meanwhile)
    return list(ended.values())


class _Tree:
    """Who belongs to a tree, over several looks."""

    def __init__(
        self,
        marker: str | None,
        pids: frozenset[int],
        spare: frozenset[int],
        orphans_but: AbstractSet[int] | None,
        cgroups: Sequence[Path],
        belongs: Callable[[Seen], bool] | None,
    ) -> None:
        self.cgroups = cgroups
        self._belongs = belongs
        self._listed: set[int] = set()
        self._marker = marker
        self._pids = pids
        self._spare = spare
        self._orphans_but = orphans_but
        self._known: set[tuple[int, int]] = set()
        self._sessions = set(pids)  # also of a leader that has ended already
        self._first = True
        self.whole_groups: set[int] = set()
        """Process groups that have none but members, by the last look."""
        self._reaps = is_subreaper()

    def look(self) -> list[Seen]:
        """The living members."""
        table = look_at_all()
        # After the table: a pid that is used again in between then stands for a process that no signal of ours reaches.
        self._listed = {pid for folder in self.cgroups for pid in processes_in(folder)}
        found = {pid for pid, seen in table.items() if pid not in self._spare and self._is_root(seen)}
        self._first = False
        grew = True
        while grew:
            self._sessions.update(pid for pid in found if table[pid].session == pid)
            new = {
                pid
                for pid, seen in table.items()
                if pid not in found
                and pid not in self._spare
                and (seen.parent in found or seen.session in self._sessions)
            }
            found |= new
            grew = bool(new)
        self._known.update(table[pid].key for pid in found)
        self._reap(table[pid] for pid in found)
        strangers = {seen.group for pid, seen in table.items() if pid not in found}
        self.whole_groups = {table[pid].group for pid in found if table[pid].alive} - strangers - {0, os.getpgrp()}
        return [table[pid] for pid in sorted(found) if table[pid].alive]

    def chase(self) -> dict[tuple[int, int], str] | None:
        """KILL and reap the orphans that come to us, as fast as they come: some who lived, described; None: none came.

        Who forks and ends every few milliseconds is somebody else by the time that a look at all processes is done.
        But whoever runs on at its end is a child of ours from then on, and our children are quickly asked for.
        """
        if self._orphans_but is None:
            return None
        keep = self._orphans_but | self._pids | self._spare
        met: dict[tuple[int, int], str] | None = None
        end = time.monotonic() + _CHASE_SECONDS
        while (orphans := own_children() - keep) and time.monotonic() < end:
            met = met or {}
            for pid in orphans:  # ours, and not reaped: the number is nobody else's
                seen = look_at(pid) if len(met) < _MOST_DESCRIBED else None
                if seen is not None and seen.alive:
                    met[seen.key] = describe(pid)
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            reap(orphans)
        return met

    def _is_root(self, seen: Seen) -> bool:
        if seen.key in self._known or (self._first and seen.pid in self._pids):
            return True
        if seen.pid in self._listed or (self._belongs is not None and seen.alive and self._belongs(seen)):
            return True
        if self._orphans_but is not None and seen.parent == os.getpid() and seen.pid not in self._orphans_but:
            return True
        return self._marker is not None and seen.alive and carries_marker(seen.pid, self._marker)

    def _reap(self, found: Iterable[Seen]) -> None:
        if self._reaps:
            mine = os.getpid()
            reap(seen.pid for seen in found if not seen.alive and seen.parent == mine and seen.pid not in self._pids)


def _terminate(
    tree: _Tree, ended: dict[tuple[int, int], str], grace: float, meanwhile: Callable[[], object] | None
) -> None:
    end = time.monotonic() + grace
    wait = _FIRST_WAIT
    while grace > 0:
        living = tree.look()
        for seen in living:
            if seen.key not in ended:
                ended[seen.key] = describe(seen.pid)
                send_signal(seen, signal.SIGTERM)
                send_signal(seen, signal.SIGCONT)  # a stopped process would not see the TERM
        if not living or len(living) > _CROWD or time.monotonic() >= end:
            return
        wait = _pause(wait, meanwhile)


def _kill(tree: _Tree, ended: dict[tuple[int, int], str], meanwhile: Callable[[], object] | None) -> None:
    end = time.monotonic() + KILL_SECONDS
    wait = _FIRST_WAIT
    frozen: set[tuple[int, int]] = set()
    empty_looks = rounds = 0
    while empty_looks < 2:
        living = tree.look()
        crowded = [] if living else [folder for folder in tree.cgroups if is_populated(folder)]
        chased = None if living else tree.chase()
        ended.update(chased or {})
        busy = bool(living or crowded or chased is not None)
        empty_looks = 0 if busy else empty_looks + 1
        new = [seen for seen in living if seen.key not in frozen]
        for seen in new:
            ended.setdefault(seen.key, describe(seen.pid))
        for folder in tree.cgroups:
            kill_cgroup(folder)
        _freeze(tree, new)
        frozen.update(seen.key for seen in new)
        rounds += 1
        if new and rounds % _FREEZES:
            continue  # look again until freezing finds no one new
        for group in tree.whole_groups:
            signal_group(group, signal.SIGKILL)
        for seen in living:
            send_signal(seen, signal.SIGKILL)
        if busy:
            if time.monotonic() >= end:
                left = [describe(seen.pid) for seen in living] + [f"in {folder}" for folder in crowded]
                raise TreeStillAlive(left + list((chased or {}).values()))
            wait = _pause(wait, meanwhile)


def _freeze(tree: _Tree, new: Iterable[Seen]) -> None:
    for group in tree.whole_groups:
        signal_group(group, signal.SIGSTOP)
    for seen in new:
        send_signal(seen, signal.SIGSTOP)


def _pause(seconds: float, meanwhile: Callable[[], object] | None) -> float:
    """Wait a little, longer every time; the next wait."""
    if meanwhile is not None:
        meanwhile()
    time.sleep(seconds)
    return min(_LONGEST_WAIT, seconds * 2)
