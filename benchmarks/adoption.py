"""How fast the next daemon has its running agents back after a kill -9.

Run, at the top of a checkout: python -m benchmarks.adoption [--agents 8] [--runs 5]

A real daemon, so many agents at work; then, again and again: KILL to the daemon, a new one, and the time from its exec
until its status.json shows every runner with the pid it had. In the end the agents are let go and all must succeed in
their first attempt.

What it does not show: a machine whose agents keep every core busy (these wait), a cold start, a long queue (see
benchmarks.restart).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from tests.support.house import House
from tests.support.waiting import wait_until

WAITS = 'touch "{root}/here-$HAIKUD_REF"; until [ -e "{root}/gate" ]; do sleep 0.5; done'


def shown(house: House) -> dict[str, int]:
    """The pids of running tasks by ref, as the newest daemon's status.json has them."""
    assert house.process is not None
    with suppress(FileNotFoundError):
        status = json.loads((house.spool / "status.json").read_bytes())
        if status["daemon"]["pid"] == house.process.pid:
            return {task["ref"]: task["pid"] for task in status["tasks"] if task["state"] == "running"}
    return {}


def restart(house: House, pids: dict[str, int]) -> tuple[float, float]:
    """Wall and CPU seconds of one new daemon until it shows all of `pids`."""
    house.kill()
    began = time.monotonic()
    house.start(wait=False)
    wait_until(lambda: shown(house) == pids, seconds=120, what="the adoption")
    seconds = time.monotonic() - began
    assert house.process is not None
    times = psutil.Process(house.process.pid).cpu_times()
    return seconds, times.user + times.system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    refs = [f"agent-{number}" for number in range(options.agents)]
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), settings={"max_agents": options.agents})
        try:
            house.role("waits", WAITS.format(root=house.root))
            house.start()
            for ref in refs:
                house.request(ref, role="waits")
            wait_until(lambda: len(list(house.root.glob("here-*"))) == len(refs), seconds=120, what="agents at work")
            wait_until(lambda: None not in shown(house).values() and len(shown(house)) == len(refs))
            pids = shown(house)
            taken = [restart(house, pids) for _ in range(options.runs)]
            (house.root / "gate").touch()
            attempts = [house.response(ref, seconds=120)["payload"]["attempts"] for ref in refs]
            assert attempts == [1] * len(refs), attempts
        finally:
            house.close()
    seconds = [one[0] for one in taken]
    print(f"{options.agents} agents adopted after kill -9, {options.runs} times; all succeeded at the first attempt")
    print(f"  from exec to status.json   median {statistics.median(seconds):5.2f} s, worst {max(seconds):5.2f} s")
    print(f"  CPU time by then           median {statistics.median(one[1] for one in taken):5.2f} s")


if __name__ == "__main__":
    main()
