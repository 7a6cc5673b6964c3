"""The spares of one forkserver, as the daemon has them: runners forked ahead of need, each waiting for its order.

An order is sent to the spare itself and to nobody else. No answer is waited for: what was sent is with it, and what
could not be sent is with nobody. A spare whose socket we close ends.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Forked:
    """A runner that was forked. `pidfd` is the taker's to close; None: the forkserver had no descriptor left."""

    pid: int
    pidfd: int | None


@dataclass(frozen=True)
class _Spare:
    pid: int
    pidfd: int
    link: socket.socket

    def drop(self) -> None:
        self.link.close()
        os.close(self.pidfd)


class Spares:
    """See the module's head."""

    def __init__(self) -> None:
        self._waiting: deque[_Spare] = deque()
        self.coming = 0  # that were asked for

    @property
    def pids(self) -> list[int]:
        """Of those that wait."""
        return [spare.pid for spare in self._waiting]

    def missing(self, most: int) -> int:
        """How many more are to be asked for."""
        return max(0, most - len(self._waiting) - self.coming)

    def take(self, pid: int | None, descriptors: Sequence[int]) -> None:
        """One is there: its pidfd and its socket."""
        self.coming = max(0, self.coming - 1)
        if pid is None or len(descriptors) != 2:  # we had no descriptors left for them
            for descriptor in descriptors:
                os.close(descriptor)
            return
        link = socket.socket(fileno=descriptors[1])
        link.setblocking(False)
        self._waiting.append(_Spare(pid, descriptors[0], link))

    def send(self, message: bytes, handed: Sequence[int]) -> Forked | None:
        """The spare that has this order now; None where there is none."""
        while self._waiting:
            spare = self._waiting.popleft()
            try:
                socket.send_fds(spare.link, [message], handed)
            except OSError:  # it is dead: nothing was sent
                spare.drop()
                continue
            spare.link.close()
            return Forked(spare.pid, spare.pidfd)
        return None

    def forget(self, pid: int) -> None:
        """That one has ended, if it was one of them."""
        for spare in [one for one in self._waiting if one.pid == pid]:
            self._waiting.remove(spare)
            spare.drop()

    def refused(self) -> None:
        """One that was asked for does not come."""
        self.coming = max(0, self.coming - 1)

    def drop(self) -> None:
        """They end."""
        while self._waiting:
            self._waiting.popleft().drop()
