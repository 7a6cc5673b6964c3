"""What a daemon costs that has nothing to do: wake-ups beside its timers, processor time, memory.

Run, at the top of a checkout: python -m benchmarks.idle [--seconds 20] [--polling] [--json FILE]

Starts a real daemon with the shipped settings on an empty spool, lets it settle, and looks twenty times a second at
every thread of it and of its children (the forkserver, runners forked ahead of need): when one has run since the last
look, that is a wake-up; looks in a row are one. The only timer of an idle daemon is `rescan_seconds`, so there should
be one wake-up each time. Processor time is the scheduler's, in nanoseconds. `--polling` uses the watcher for
filesystems without events.

What it does not show: a spool with a long history or many open tasks, runners (each is a process of its own), a gateway
(one starts with the first agent that needs it), and memory after days of work.
"""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from benchmarks.figures import SHIPPED, Row, arguments, finish, private_megabytes, ready_house
from tests.support.house import House

LOOKS_A_SECOND = 20


@dataclass
class Seen:
    """One process while it idles."""

    name: str
    pid: int
    ran: int = 0  # nanoseconds
    switches: int = 0
    wakes: int = 0
    awake: bool = False

    def look(self) -> None:
        """Count a wake-up where a thread has run since the last look, and none had before that."""
        switches = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                status = (task / "status").read_text(encoding="utf-8").rsplit("voluntary_ctxt_switches:", 2)[1]
                switches += int(status.split()[0])
        woke = switches != self.switches
        self.wakes += woke and not self.awake
        self.awake, self.switches = woke, switches

    def ran_so_far(self) -> int:
        """Nanoseconds on a processor, of all threads that live."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total


def family(house: House) -> list[Seen]:
    """The daemon and its children."""
    assert house.process is not None
    daemon = psutil.Process(house.process.pid)
    found = [Seen("daemon", daemon.pid)]
    for child in daemon.children(recursive=True):
        name = child.name().removeprefix("haikud-")  # the kernel cuts it after fifteen letters
        name = "forkserver" if "forkserver".startswith(name) else name
        alike = sum(one.name.startswith(name) for one in found)
        found.append(Seen(f"{name} {alike + 1}" if alike else name, child.pid))
    return found


def measure(house: House, seconds: float) -> list[Row]:
    """The rows of a daemon that is ready."""
    time.sleep(SHIPPED["settle_seconds"] + 2.0)  # what starting set in motion
    seen = family(house)
    for one in seen:
        one.look()
        one.wakes, one.ran = 0, one.ran_so_far()
    resident = sum(psutil.Process(one.pid).memory_info().rss for one in seen)
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(1 / LOOKS_A_SECOND)
        for one in seen:
            one.look()
    took = time.monotonic() - began
    rows, beyond = [], 0.0
    for one in seen:
        timers = took / SHIPPED["rescan_seconds"] if one.name == "daemon" else 0.0
        beyond += max(0.0, one.wakes - math.ceil(timers))
        process = psutil.Process(one.pid)
        rows += [
            Row(one.name, float(one.wakes), "", column="wake-ups"),
            Row(one.name, timers, "", column="its timers"),
            Row(one.name, (one.ran_so_far() - one.ran) / 1e9 / took * 100, "% of a core", column="CPU"),
            Row(one.name, process.memory_info().rss / 1e6, "MB", column="resident"),
            Row(one.name, private_megabytes(one.pid), "MB", column="private"),
            Row(one.name, float(process.num_threads()), "", column="threads"),
        ]
    over = f"over {took:.0f} s"
    after = sum(psutil.Process(one.pid).memory_info().rss for one in seen)
    cpu = sum(row.value for row in rows if row.column == "CPU")
    rows += [
        Row("wake-ups beyond the timers", beyond, "", over),
        Row("processor time of all", cpu, "% of a core", over),
        Row("memory grew by", (after - resident) / 1e3, "kB", over),
    ]
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--polling", action="store_true")
    options = parser.parse_args()
    settings: dict[str, Any] = {"watcher": "polling"} if options.polling else {}
    with tempfile.TemporaryDirectory(prefix="haikud-idle-") as folder:
        house = ready_house(Path(folder), settings)
        try:
            rows = measure(house, options.seconds)
        finally:
            house.close()
    finish("idle", rows, options.json)


if __name__ == "__main__":
    main()
