"""What every benchmark shares: rows and how they are kept and shown, percentiles, processor time, a house made ready.

A benchmark ends with a list of `Row`s, which `finish` prints as a table and, with `--json FILE`, keeps as
`{"name": ..., "rows": [{"what", "value", "unit", "note", "column"}]}`; benchmarks.report makes tables and plots of
those. Rows that name a column are one table with a line for each `what`; the others are a line each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.sandbox.prctl import become_subreaper

SHIPPED: dict[str, Any] = {"settle_seconds": 1.0, "rescan_seconds": 5.0, "launcher": "forkserver", "issues": "none"}
"""Where the tests' house shortens a wait or starts runners the slow way: what users get."""


@dataclass(frozen=True)
class Row:
    """One figure. `what`: of what it is; `column`: which of its figures, where it has several."""

    what: str
    value: float
    unit: str
    note: str = ""
    column: str = ""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--json FILE`; `doc`: the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there as JSON")
    return parser


def finish(name: str, rows: Sequence[Row], keep: Path | None, **more: Any) -> None:
    """Print the rows; keep them, with `more` beside them, where a file is named."""
    print("\n".join(table(rows)), flush=True)
    if keep is not None:
        kept = {"name": name, "rows": [asdict(row) for row in rows], **more}
        keep.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of plain text: a line for each `what` with its columns, then the rows that have none."""
    columns = list(dict.fromkeys(f"{row.column} [{row.unit}]" for row in rows if row.column))
    lines = []
    if columns:
        width = max(len(row.what) for row in rows)
        lines.append(" " * width + "".join(f"{column:>{len(column) + 2}}" for column in columns))
        for what in dict.fromkeys(row.what for row in rows if row.column):
            found = {f"{row.column} [{row.unit}]": plain(row.value) for row in rows if row.what == what}
            lines.append(
                f"{what:<{width}}" + "".join(f"{found.get(column, '-'):>{len(column) + 2}}" for column in columns)
            )
    lines += [
        f"{row.what}: {plain(row.value)} {row.unit}" + (f"   ({row.note})" if row.note else "")
        for row in rows
        if not row.column
    ]
    return lines


def plain(value: float) -> str:
    """Three digits that say something: 0.123, 1.23, 12.3, 1,234."""
    size = abs(value)
    if 0 < size < 0.0005:
        return "<0.001"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def percentile(values: Iterable[float], share: float) -> float:
    """The nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def say(words: str) -> None:
    """A line of progress, on stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


# -- processor time, memory -------------------------------------------------------------------------------------------


def count_descendants() -> None:
    """From now on whatever is started below us stays below us, so that `cpu_seconds` misses nothing."""
    become_subreaper()


def cpu_seconds(*, keep: Iterable[int] = ()) -> float:
    """User and system seconds of this process and all its descendants, ended ones too; `keep`: not to be reaped.

    Needs `count_descendants` before the first of them. An ended process counts in whoever waited for it.
    """
    ours = os.times()
    total = ours.user + ours.system
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
            if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid() and process.pid not in keep:
                os.waitpid(process.pid, 0)
            else:
                total += times.user + times.system + times.children_user + times.children_system
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total + ended.ru_utime + ended.ru_stime


def private_megabytes(pid: int) -> float:
    """Memory that no other process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


# -- a house ----------------------------------------------------------------------------------------------------------


def ready_house(folder: Path, settings: dict[str, Any], environment: dict[str, str] | None = None) -> House:
    """A daemon with the shipped settings and these, that has loaded what it forks runners from."""
    folder.mkdir(parents=True, exist_ok=True)
    house = House(folder, settings={**SHIPPED, **settings}, environment=environment or {})
    try:
        house.start()
        if house.settings["launcher"] == "forkserver":
            wait_until(lambda: "started the forkserver" in house.said(), seconds=60, what="the forkserver")
    except BaseException:
        house.close()
        raise
    return house
