"""Telling systemd how the daemon is: sd_notify(3), datagrams on the socket that $NOTIFY_SOCKET names.

Never fails and never waits: a word that cannot be delivered is dropped. The variables are taken out of the
environment, so that no agent can speak for the daemon. WATCHDOG=1 is sent after a completed round, when half of
WATCHDOG_USEC is over, and where there is no such variable nothing wakes up for it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

from haikud.engine.supervisor import Supervisor

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

_MOST_STATUS = 1000


class Systemd(Supervisor):
    """See the module's head. `watchdog_seconds` is the time after which silence is death; None: never."""

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every = None if watchdog_seconds is None else watchdog_seconds / 2
        self._alive_at = time.monotonic()
        self._told = ""

    def ready(self) -> None:
        """READY."""
        self._send("READY=1")
        self._alive_at = time.monotonic()

    def waits(self, why: str, seconds: float) -> None:
        """The start takes longer, and this is why."""
        self._send(f"EXTEND_TIMEOUT_USEC={int((seconds + 60) * 1e6)}")
        self.tell(why)

    def tell(self, line: str) -> None:
        """STATUS, where it is another one than before."""
        line = " ".join(line.split())[:_MOST_STATUS]
        if line != self._told:
            self._told = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """WATCHDOG, where it is time for it."""
        if self.seconds_left() == 0:
            self._alive_at = time.monotonic()
            self._send("WATCHDOG=1")

    def seconds_left(self) -> float | None:
        """Until the next WATCHDOG."""
        if self._every is None:
            return None
        return max(0.0, self._alive_at + self._every - time.monotonic())

    def reloading(self) -> None:
        """RELOADING, with the time that Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """STOPPING."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto(text.encode(errors="replace"), self._address)


def take_supervisor(environ: MutableMapping[str, str]) -> Supervisor | None:
    """Who started us, by the environment, from which it is removed; None where that is no service manager."""
    address, microseconds, pid = (environ.pop(name, "") for name in _OURS)
    if address[:1] not in {"/", "@"}:
        return None
    is_for_us = pid in {"", str(os.getpid())}
    seconds = int(microseconds) / 1e6 if is_for_us and microseconds.isdecimal() and int(microseconds) else None
    return Systemd(address, seconds)
