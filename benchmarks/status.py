"""How long `haikud status` takes, as a person or a script feels it: a fresh process every time.

Run, at the top of a checkout: python -m benchmarks.status [--runs 20]

Measured on spools that this program lays out: an empty one, one with 50 tasks and a status.json as a daemon writes it,
and one with 10,000 queued tasks and no daemon, which is read from the links. Beside it: a Python that does nothing,
which no command in Python can beat.

What it does not show: a cold start (nothing in the page cache), a spool on a network filesystem, or a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from haikud.spool.daemon_lock import hold_daemon_lock
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout


def lay_out(root: Path) -> SpoolLayout:
    """An empty spool."""
    open_spool(root)
    return SpoolLayout(root)


def with_live_picture(layout: SpoolLayout, tasks: int) -> SpoolLayout:
    """As a daemon with that many tasks shows it."""
    daemon = {"pid": os.getpid(), "version": "0.1.0", "state": "running", "max_agents": 8}
    task = {"plan": "p", "title": "Implement the page", "state": "running", "phase": "implement", "percent": 40}
    listed = [{**task, "ref": f"p.t{n}", "cost_usd": 0.01, "started_at": "2026-01-01T00:00:00Z"} for n in range(tasks)]
    picture = {"daemon": daemon, "counts": {"running": tasks}, "tasks": listed, "cost_usd": 0.01 * tasks}
    layout.status_file.write_text(json.dumps(picture), encoding="utf-8")
    return layout


def with_links(layout: SpoolLayout, tasks: int) -> SpoolLayout:
    """As a daemon with that many queued tasks left it."""
    for n in range(tasks):
        ref = f"p.t{n}"
        layout.link("queued", ref).symlink_to(layout.link_target(ref))
    return layout


def measure(command: Sequence[str], runs: int) -> list[float]:
    """Wall seconds of each run, sorted; one more run before them warms the caches."""
    taken = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    status = [sys.executable, "-m", "haikud.interfaces", "status", "--spool"]
    with tempfile.TemporaryDirectory() as folder:
        empty = lay_out(Path(folder, "empty"))
        live = with_live_picture(lay_out(Path(folder, "live")), 50)
        many = with_links(lay_out(Path(folder, "many")), 10_000)
        with hold_daemon_lock(live):
            rows = [
                ("python that does nothing", measure([sys.executable, "-c", "pass"], runs)),
                ("status, empty spool", measure([*status, str(empty.root)], runs)),
                ("status, daemon with 50 tasks", measure([*status, str(live.root)], runs)),
                ("status, 10,000 queued, no daemon", measure([*status, str(many.root)], runs)),
            ]
    print(f"{'':<34} {'median':>8} {'worst':>8}   ({runs} runs each, {os.cpu_count()} cores)")
    for name, taken in rows:
        print(f"{name:<34} {statistics.median(taken) * 1000:>5.0f} ms {taken[-1] * 1000:>5.0f} ms")
    print("Not shown: a cold start, a network filesystem, a busy machine.")


if __name__ == "__main__":
    main()
