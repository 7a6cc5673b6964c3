"""What one more plan costs the daemon beside what lies in its spool: shared by benchmarks.queued and .history.

Two daemons with the same settings, one on an empty spool; plans that do nothing are dropped to each in turn, one after
the other, each when the one before it is answered. Processor time is the daemon's own with all its threads, ended ones
too; not that of runners, which know nothing of the spool's size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from benchmarks.figures import SHIPPED, Row, private_megabytes, ready_house
from tests.support.house import GATED, House
from tests.support.laid_out import lay_out_tasks
from tests.support.waiting import wait_until

SETTINGS: dict[str, Any] = {"max_agents": 3, "max_agents_per_repository": 1}
"""One slot is the gate's, whose repository is then full; two are for the plans that are measured."""

NOTHING = "noop"

_NUMBERS = count()


@dataclass
class Side:
    """One daemon, and what its plans have cost so far."""

    house: House
    cpu: list[float] = field(default_factory=list)  # seconds for each plan, of each turn
    waited: list[float] = field(default_factory=list)  # seconds from the rename to the answer, of each plan

    def turn(self, plans: int) -> None:
        """So many plans, one after the other."""
        began = daemon_seconds(self.house)
        for _ in range(plans):
            name = f"more{next(_NUMBERS)}"
            dropped = time.perf_counter()
            self.house.request(name, role=NOTHING)
            answer = self.house.spool / "responses" / f"{name}.json"
            while not answer.exists():
                assert time.perf_counter() < dropped + 60.0, self.house.tail()
                time.sleep(0.001)
            self.waited.append(time.perf_counter() - dropped)
        self.cpu.append((daemon_seconds(self.house) - began) / plans)


def daemon_seconds(house: House) -> float:
    """User and system seconds of the daemon so far."""
    assert house.process is not None
    times = psutil.Process(house.process.pid).cpu_times()
    return times.user + times.system


def side(folder: Path) -> Side:
    """A daemon on an empty spool, with the role that does nothing."""
    house = ready_house(folder, SETTINGS)
    house.role(NOTHING, "true", workspace="none")
    return Side(house)


@contextmanager
def sides_in(folder: Path) -> Iterator[Callable[[str], Side]]:
    """Opens sides by name, and closes all in the end."""
    opened: list[Side] = []

    def open_side(name: str) -> Side:
        opened.append(side(folder / name))
        return opened[-1]

    try:
        yield open_side
    finally:
        for one in opened:
            one.house.close()


def queue_behind(house: House, tasks: int) -> None:
    """Lay out so many queued tasks that may not start: their repository is full."""
    house.request("gate", role=house.role("gate", GATED.format(gate=house.root / "gate")))
    house.at_work("gate")
    house.kill()
    lay_out_tasks(house.spool, tasks, 1, repository=house.repository, paused=False)


def restart(house: House, queued: int) -> tuple[float, float]:
    """Start the daemon again; seconds until it has everything and watches, and its seconds of processor time by then.

    Ready: status.json is the new daemon's and counts every task.
    """
    began = time.monotonic()
    house.start(wait=False)
    assert house.process is not None
    while True:
        assert house.process.poll() is None, house.said()[-3000:]
        assert time.monotonic() < began + 300, house.said()[-3000:]
        with suppress(AssertionError, TypeError):
            status = house.read("status.json") or {}
            if status["daemon"]["pid"] == house.process.pid and status["counts"]["queued"] == queued:
                break
        time.sleep(0.01)
    seconds, cpu = time.monotonic() - began, daemon_seconds(house)
    wait_for_forkserver(house)
    return seconds, cpu


def restart_rows(house: House, queued: int, what: str, name: str = "restart") -> list[Row]:
    """The best of three restarts; a daemon that lives is killed before each."""
    starts = []
    for _ in range(3):
        if house.process is not None and house.process.poll() is None:
            house.kill()
        starts.append(restart(house, queued))
    seconds, cpu = min(starts)
    return [
        Row(name, seconds, "s", f"{what}, the best of {len(starts)}"),
        Row(f"{name}, CPU", cpu, "s", "of that start"),
    ]


def wait_for_forkserver(house: House) -> None:
    """Wait until a daemon that was started again can fork runners."""
    assert house.process is not None
    if house.settings.get("launcher") == SHIPPED["launcher"]:
        name = f"pid {house.process.pid} serves"
        wait_until(lambda: "started the forkserver" in house.said().rpartition(name)[2], seconds=60, what="forkserver")


def in_turns(sides: Mapping[str, Side], turns: int, plans: int) -> list[Row]:
    """Rows of what one more costs on each side; the first side is the one beside which the others are put."""
    for one in sides.values():
        one.turn(3)
        one.cpu.clear()
        one.waited.clear()
    for _ in range(turns):
        for one in sides.values():
            one.turn(plans)
    rows, base = [], next(iter(sides.values()))
    for name, one in sides.items():
        cpu, waited = statistics.median(one.cpu), statistics.median(one.waited)
        rows += [
            Row(name, 1000 * cpu, "ms", "the daemon's processor time", "one more, CPU"),
            Row(name, cpu / statistics.median(base.cpu), "x", "", "CPU to empty"),
            Row(name, 1000 * waited, "ms", "from the rename to the answer", "one more, p50"),
            Row(name, waited / statistics.median(base.waited), "x", "", "p50 to empty"),
            Row(name, memory(one.house), "MB", "private", "daemon's memory"),
        ]
    return rows


def memory(house: House) -> float:
    """Private megabytes of the daemon."""
    assert house.process is not None
    return private_megabytes(house.process.pid)
