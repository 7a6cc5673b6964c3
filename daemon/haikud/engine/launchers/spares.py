"""The spares of one forkserver, as the daemon has them: runners forked ahead of need, each waiting for its order.

An order is sent to the spare itself and to nobody else. No answer is waited for: what was sent is with it, and what
could not be sent is with nobody. A spare whose socket we close ends.

Each is in a cgroup of its own, where there is one: to enter it takes milliseconds, which so nobody waits for.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.forking import MOST_BYTES
from haikud.sandbox.cgroups import make_cgroup, remove_cgroup, remove_spare_cgroups, spare_cgroup_name


@dataclass(frozen=True)
class Forked:
    """A runner that was forked. `pidfd` is the taker's to close; None: the forkserver had no descriptor left."""

    pid: int
    pidfd: int | None
    cgroup: Path | None = None  # of a spare


@dataclass(frozen=True)
class _Spare:
    pid: int
    pidfd: int
    link: socket.socket
    cgroup: Path | None

    def drop(self) -> None:
        self.link.close()
        os.close(self.pidfd)


class Spares:
    """See the module's head."""

    def __init__(self) -> None:
        self._waiting: deque[_Spare] = deque()
        self._coming: deque[Path | None] = deque()  # those that were asked for, by their cgroups
        self._leaving: dict[int, Path] = {}  # pid -> its cgroup

    @property
    def pids(self) -> list[int]:
        """Of those that wait."""
        return [spare.pid for spare in self._waiting]

    @property
    def coming(self) -> int:
        """How many were asked for and are not there."""
        return len(self._coming)

    def ask(self, cgroups: Sequence[Path | None]) -> None:
        """So many were asked for, each to be in that cgroup."""
        self._coming.extend(cgroups)

    def missing(self, most: int) -> int:
        """How many more are to be asked for."""
        return max(0, most - len(self._waiting) - self.coming)

    def take(self, pid: int | None, descriptors: Sequence[int]) -> None:
        """One is there: its pidfd and its socket."""
        cgroup = self._coming.popleft() if self._coming else None
        if pid is None or len(descriptors) != 2:  # we had no descriptors left for them
            for descriptor in descriptors:
                os.close(descriptor)
            return
        link = socket.socket(fileno=descriptors[1])
        link.setblocking(False)
        self._waiting.append(_Spare(pid, descriptors[0], link, cgroup))

    def send(self, message: Callable[[Path | None], bytes], handed: Sequence[int]) -> Forked | None:
        """The spare that has this order now; None where there is none. `message`: for a runner in that cgroup."""
        while self._waiting:
            spare = self._waiting.popleft()
            data = message(spare.cgroup)
            if len(data) > MOST_BYTES:
                self._waiting.appendleft(spare)
                return None
            try:
                socket.send_fds(spare.link, [data], handed)
            except OSError:  # it is dead: nothing was sent
                self._drop(spare)
                continue
            spare.link.close()
            return Forked(spare.pid, spare.pidfd, spare.cgroup)
        return None

    def forget(self, pid: int) -> None:
        """That one has ended, if it was one of them."""
        for spare in [one for one in self._waiting if one.pid == pid]:
            self._waiting.remove(spare)
            self._drop(spare)
        if (cgroup := self._leaving.pop(pid, None)) is not None:
            remove_cgroup(cgroup)

    def refused(self) -> None:
        """One that was asked for does not come."""
        if self._coming and (cgroup := self._coming.popleft()) is not None:
            remove_cgroup(cgroup)

    def drop(self) -> None:
        """They end."""
        while self._waiting:
            self._drop(self._waiting.popleft())
        while self._coming:
            self.refused()

    def _drop(self, spare: _Spare) -> None:
        spare.drop()
        if spare.cgroup is not None:
            self._leaving[spare.pid] = spare.cgroup


class SpareCgroups:
    """Makes a cgroup for each spare of a daemon's life. `spool_id` None: none for any."""

    def __init__(self, spool_id: str | None) -> None:
        self._spool_id = spool_id
        self._series = os.urandom(8).hex()
        self._number = 0

    def make(self) -> Path | None:
        """A new one; None where there can be none."""
        if self._spool_id is None:
            return None
        self._number += 1
        try:
            return make_cgroup(spare_cgroup_name(self._spool_id, self._series, self._number))
        except OSError:
            return None

    def sweep(self) -> None:
        """Remove those that nobody is in. To be called while no spare is on its way."""
        if self._spool_id is not None:
            remove_spare_cgroups(self._spool_id)
