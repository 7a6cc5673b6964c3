"""What a daemon costs that has nothing to do: CPU time over 20 seconds, and memory.

Run, at the top of a checkout: python -m benchmarks.idle [--seconds 20] [--polling]

Starts a real daemon on an empty spool, lets it settle for two seconds, and reads its processes' CPU time and resident
memory at both ends. `--polling` uses the watcher for filesystems without events.

What it does not show: a spool with a long history or many open tasks, runners (each is a process of its own), and
memory after days of work.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.support.house import House


@dataclass(frozen=True)
class Reading:
    """CPU seconds, resident bytes, threads and context switches of a daemon and its children."""

    cpu: float
    resident: int
    threads: int
    switches: int


def read(pid: int) -> Reading:
    """What the daemon and its children have used so far."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    times = [one.cpu_times() for one in family]
    return Reading(
        cpu=sum(t.user + t.system for t in times),
        resident=sum(one.memory_info().rss for one in family),
        threads=sum(one.num_threads() for one in family),
        switches=sum(sum(one.num_ctx_switches()) for one in family),
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--polling", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        # The tests' house shortens waits; here the shipped defaults are what is measured.
        house.settings = {"settle_seconds": 1.0, "rescan_seconds": 5.0}
        if options.polling:
            house.settings["watcher"] = "polling"
        try:
            house.start()
            assert house.process is not None
            time.sleep(2.0)
            before = read(house.process.pid)
            began = time.monotonic()
            time.sleep(options.seconds)
            after = read(house.process.pid)
            seconds = time.monotonic() - began
        finally:
            house.close()
    cpu = after.cpu - before.cpu
    print(f"idle daemon, {'polling' if options.polling else 'inotify'}, over {seconds:.1f} s")
    print(f"  CPU time          {cpu * 1000:8.0f} ms  ({cpu / seconds * 100:.2f} % of one core)")
    print(f"  resident memory   {after.resident / 1e6:8.1f} MB  ({(after.resident - before.resident) / 1e3:+.0f} kB)")
    print(f"  threads           {after.threads:8d}")
    print(f"  context switches  {(after.switches - before.switches) / seconds:8.1f} a second")
    print("Not shown: a long history, many open tasks, runners, memory after days.")


if __name__ == "__main__":
    main()
