"""100,000 finished plans in the spool: what one more costs, how long a restart and `haikud status` take.

Run, at the top of a checkout: python -m benchmarks.history [--finished 100000] [--queued 10000] [--turns 5]
[--plans 20] [--json FILE]

The finished plans are laid out, not run: folders, names and links as the daemon leaves them, but their files are hard
links to those of a few, since nobody reads them: half a million inodes instead of two million.
Two daemons in turns, one on an empty spool; then `--queued` tasks are laid out beside the finished ones, and the
daemon is started on both.

What it does not show: a slower disk, cold caches, `haikud doctor` and `haikud prune`, which look at everything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import one_more
from benchmarks.figures import Row, arguments, finish, say
from benchmarks.one_more import Side
from tests.support.house import House

from haikud.spool.layout import SpoolLayout

MOST_LINKS = 30_000
"""Of one inode: ext4 allows 65,000, and answers have two."""


def lay_out_finished(spool: Path, plans: int, like: str) -> None:
    """So many finished plans, as listings show the finished plan `like` of that spool, but for what attempts left."""
    layout = SpoolLayout(spool)
    model = layout.plan(like).folder
    copies = layout.plans / ".models"
    copies.mkdir()
    files = [path for path in (*model.iterdir(), *(model / like).iterdir()) if path.is_file()]
    inside = [str(path.relative_to(model)) for path in files]
    for number in range(plans):
        name, source = f"done{number}", f"{copies}/{number // MOST_LINKS}"
        folder = f"{layout.plans}/{name}"
        for made in (folder, f"{folder}/{name}", f"{folder}/{name}/attempt-1"):
            os.mkdir(made)  # noqa: PTH102 - no Path for each of a million
        for place, path in enumerate(files):
            if number % MOST_LINKS == 0:
                shutil.copy2(path, f"{source}-{place}")
            os.link(f"{source}-{place}", f"{folder}/{inside[place].replace(like, name, 1)}")
        os.link(f"{folder}/response.json", f"{layout.responses}/{name}.json")
        os.symlink(f"../../plans/{name}/{name}", f"{layout.tasks}/succeeded/{name}")  # noqa: PTH211
        os.symlink(f"../plans/{name}/{name}/agent.log", f"{layout.logs}/agent-{name}.log")  # noqa: PTH211
    shutil.rmtree(copies)


def seconds_of(house: House, *command: str, runs: int = 5) -> float:
    """Wall seconds of a command of the command line, the best of some runs."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "haikud.interfaces", *command, "--spool", str(house.spool)],
            env=house.base_environment(), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        best = min(best, time.perf_counter() - began)
    return best


def measure(finished: int = 100_000, queued: int = 10_000, turns: int = 5, plans: int = 20) -> dict[str, Any]:
    """The rows, under "rows"."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            with one_more.sides_in(Path(folder)) as open_side:
                rows += _rows(open_side("empty"), open_side("old"), finished, queued, turns, plans)
        finally:
            subprocess.run(["rm", "-rf", folder], check=False)  # quicker than Python with half a million names
            Path(folder).mkdir(exist_ok=True)
    return {"rows": rows}


def _rows(empty: Side, old: Side, finished: int, queued: int, turns: int, plans: int) -> list[Row]:
    old.house.request("first", role=one_more.NOTHING)
    old.house.response("first")
    old.house.kill()
    rows = status_rows(empty.house, "empty spool")
    say(f"laying out {finished:,} finished plans")
    lay_out_finished(old.house.spool, finished, "first")
    rows += one_more.restart_rows(old.house, 0, f"{finished:,} finished", "restart after history")
    rows += status_rows(old.house, f"{finished:,} finished")
    say(f"{turns} turns of {plans} plans")
    rows += one_more.in_turns({"empty": empty, "history": old}, turns, plans)
    say(f"laying out {queued:,} tasks beside them")
    one_more.queue_behind(old.house, queued)
    both = f"{queued:,} queued and {finished:,} finished"
    rows += one_more.restart_rows(old.house, queued, both)
    rows.append(Row("memory", one_more.memory(old.house), "MB", "private, of that daemon"))
    rows += status_rows(old.house, both)
    old.house.close()
    rows.append(Row("haikud status, no daemon", 1000 * seconds_of(old.house, "status"), "ms", both))
    return rows


def status_rows(house: House, what: str) -> list[Row]:
    """`haikud status` as a process of its own."""
    return [Row(f"haikud status, {what}", 1000 * seconds_of(house, "status"), "ms", "a process of its own, best of 5")]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--finished", type=int, default=100_000)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--plans", type=int, default=20)
    options = parser.parse_args()
    found = measure(options.finished, options.queued, options.turns, options.plans)
    finish("history", found["rows"], options.json)


if __name__ == "__main__":
    main()
