"""How long a daemon takes to be ready again with 10,000 queued tasks, and how much memory it then has.

Run, at the top of a checkout: python -m benchmarks.restart [--tasks 10000] [--runs 5] [--tasks-per-plan 1 100]

Lays a spool out by the store's own admission (as 10,000 plans of one task, and as 100 plans of 100), pauses its queue,
and starts a real daemon on it again and again. Ready: status.json is the new daemon's and counts every task, and drops
are being watched. `warm`: what the kernel has cached; `cold`: after its caches were dropped, which only root can do.

What it does not show: running attempts (see benchmarks.adoption), a long history (see benchmarks.history), a busy
machine, or a disk slower than this one's.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from benchmarks.figures import Row, arguments, finish
from tests.support.house import House
from tests.support.laid_out import lay_out_tasks

PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Start:
    """One start of a daemon: seconds from its exec until it was ready, CPU seconds and resident bytes by then."""

    seconds: float
    cpu: float
    resident: int


def start_once(house: House, tasks: int) -> Start:
    """Start the daemon, wait until it is ready, kill it."""
    began = time.monotonic()
    house.start(wait=False)
    process = house.process
    assert process is not None
    while not _is_ready(house, tasks):
        assert process.poll() is None, house.said()
        assert time.monotonic() < began + PATIENCE_SECONDS, house.said()
        time.sleep(0.01)
    seconds = time.monotonic() - began
    seen = psutil.Process(process.pid)
    times, resident = seen.cpu_times(), seen.memory_info().rss
    house.kill()
    return Start(seconds, times.user + times.system, resident)


def _is_ready(house: House, tasks: int) -> bool:
    assert house.process is not None
    with suppress(FileNotFoundError):
        status = json.loads((house.spool / "status.json").read_bytes())
        return bool(status["daemon"]["pid"] == house.process.pid and status["counts"]["queued"] == tasks)
    return False


def drop_caches() -> bool:
    """Make the kernel forget what it has read; False where we may not."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    except OSError:
        return False
    return True


def measure(tasks: int, per_plan: int, runs: int) -> list[Row]:
    """Cold once, then warm."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        try:
            lay_out_tasks(house.spool, tasks // per_plan, per_plan)
            plans = f"{tasks // per_plan:,} plans of {per_plan}"
            rows = _rows(f"{plans}, cold", [start_once(house, tasks)]) if drop_caches() else []
            return rows + _rows(f"{plans}, warm", [start_once(house, tasks) for _ in range(runs)])
        finally:
            house.close()


def _rows(what: str, starts: list[Start]) -> list[Row]:
    seconds = [one.seconds for one in starts]
    note = f"{len(starts)} starts" if len(starts) > 1 else "one start"
    return [
        Row(what, statistics.median(seconds), "s", note, "ready after"),
        Row(what, max(seconds), "s", note, "worst"),
        Row(what, statistics.median(one.cpu for one in starts), "s", note, "CPU"),
        Row(what, max(one.resident for one in starts) / 1e6, "MB", note, "resident"),
    ]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tasks-per-plan", type=int, nargs="+", default=[1, 100])
    options = parser.parse_args()
    rows = [row for per_plan in options.tasks_per_plan for row in measure(options.tasks, per_plan, options.runs)]
    finish("restart", rows, options.json)


if __name__ == "__main__":
    main()
