"""10,000 queued tasks: what one more costs the daemon beside an empty spool, how much memory it has, how it restarts.

Run, at the top of a checkout: python -m benchmarks.queued [--tasks 10000] [--turns 5] [--plans 20] [--take-in 10000]
[--json FILE]

Two daemons in turns, one on an empty spool, one behind whose plans the tasks are queued: their repository is full, so
that each time a place is free the daemon has to pass them over. Memory is what no other process has (smaps_rollup), of
a daemon that was started on them, and of one that took `--take-in` requests in, dropped all at once.

What it does not show: tasks that run (benchmarks.agents), plans with many tasks or long texts, a slower disk.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import one_more
from benchmarks.figures import Row, arguments, finish, say
from tests.support.house import House
from tests.support.waiting import wait_until


def measure(tasks: int = 10_000, turns: int = 5, plans: int = 20, take_in: int = 10_000) -> dict[str, Any]:
    """The rows, under "rows"."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, one_more.sides_in(Path(folder)) as open_side:
        empty, many = open_side("empty"), open_side("many")
        say(f"laying out {tasks:,} tasks")
        one_more.queue_behind(many.house, tasks)
        rows += one_more.restart_rows(many.house, tasks, f"with {tasks:,} queued")
        rows += [Row("memory after a restart", one_more.memory(many.house), "MB", f"private, with {tasks:,} queued")]
        say(f"{turns} turns of {plans} plans")
        rows += one_more.in_turns({"empty": empty, "queued": many}, turns, plans)
        for one in (empty, many):
            one.house.close()
        if take_in:
            rows += taken_in(open_side("taken").house, take_in)
    return {"rows": rows}


def taken_in(house: House, requests: int) -> list[Row]:
    """A daemon that takes many requests in, dropped at once while its queue is paused."""
    house.drop("control", "all.pause", "")
    wait_until((house.spool / "queue.json").exists, seconds=30, what="the pause")
    say(f"dropping {requests:,} requests")
    began, cpu = time.monotonic(), one_more.daemon_seconds(house)
    for number in range(requests):
        house.request(f"in{number}", files=[f"src/part{number}.py"], description="What is to be done there. " * 6)
    queued = house.spool / "tasks" / "queued"
    wait_until(lambda: len(list(queued.iterdir())) == requests, seconds=600, what="all to be queued")
    cpu = one_more.daemon_seconds(house) - cpu
    took = time.monotonic() - began
    time.sleep(2.0)
    return [
        Row("memory after taking them in", one_more.memory(house), "MB", f"private, {requests:,} dropped at once"),
        Row("taking one in", 1000 * cpu / requests, "ms", f"the daemon's processor time; all took {took:.0f} s"),
    ]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--take-in", type=int, default=2_000)
    options = parser.parse_args()
    found = measure(options.tasks, options.turns, options.plans, options.take_in)
    finish("queued", found["rows"], options.json)


if __name__ == "__main__":
    main()
