"""Write what the benchmarks found into docs/performance.md: tables between markers, and plots beside it.

Run, at the top of a checkout, after benchmarks.every: python -m benchmarks.report [--from build/bench] [--into docs]

Between `<!-- figures: NAME -->` and `<!-- end -->` stands the table of that benchmark, or why there is none; `goals`
and `machine` are two more names. All other text is a person's and stays as it is. A benchmark that is not in the folder
keeps the table that it has. Plots need matplotlib and are left alone without it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import plain
from benchmarks.goals import GOALS

Kept = dict[str, Any]

_PLACE = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read_all(folder: Path) -> dict[str, Kept]:
    """What each benchmark kept, by its module's name; for one that failed `{"failed": why}`."""
    found = {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}
    return found | {path.stem: {"failed": path.read_text(encoding="utf-8")} for path in folder.glob("*.failed")}


def filled(text: str, kept: Mapping[str, Kept]) -> str:
    """The document with the tables of what was measured."""

    def fill(match: re.Match[str]) -> str:
        head, name, end = match.groups()
        if name == "goals":
            lines = goals_table(kept)
        elif name == "machine" and name in kept:
            lines = machine_lines(kept[name])
        elif name in kept:
            lines = table_of(kept[name])
        else:
            return match[0]
        return head + "\n".join(lines) + "\n" + end

    return _PLACE.sub(fill, text)


def goals_table(kept: Mapping[str, Kept]) -> list[str]:
    """Each goal, what was found, and whether that is enough."""
    quick = kept.get("machine", {}).get("quick")  # then the numbers are too small to judge by
    lines = ["| goal | limit | found | |", "|---|--:|--:|---|"]
    for goal in GOALS:
        value = goal.found(kept)
        limit = f"{'at least' if goal.least else 'at most'} {plain(goal.limit)} {goal.unit}".rstrip()
        found = "not measured" if value is None else f"{plain(value)} {goal.unit}".rstrip()
        verdict = "" if value is None or quick else "reached" if goal.is_reached(value) else "**not reached**"
        lines.append(f"| {goal.words} | {limit} | {found} | {verdict} |")
    return lines


def machine_lines(machine: Kept) -> list[str]:
    """A sentence or two."""
    versions = [f"{name} {machine[name]}" for name in ("git", "task-spooler", "nq", "huey") if machine.get(name)]
    lines = [
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, Linux {machine['kernel']},",
        f"{machine['filesystem']}; one durable file (write, fsync, rename, fsync of the folder) takes",
        f"{plain(machine['fsync_ms'])} ms. Python {machine['python']}, {', '.join(versions)}.",
        f"Other load when it began: {machine['load'][0]:g} (1 min), {machine['load'][1]:g} (5 min).",
    ]
    if machine["load"][0] > 0.75 * machine["cores"]:
        lines.append(
            "**It was busy with other things, on the same cores and disk: the figures are a trial, no verdict.**"
        )
    if machine.get("quick"):
        lines.append("**A short run (`QUICK=1`), to see that all works: its figures say little.**")
    return lines


def table_of(kept: Kept) -> list[str]:
    """A table with a line for each `what`, then one of the rows that stand alone."""
    if "failed" in kept:
        return [f"Not measured in this run: {' '.join(kept['failed'].split())}"]
    rows = kept["rows"]
    both = [part for part in (grid(rows, kept.get("note_is", "")), singles(rows)) if part]
    return [line for part in both for line in ["", *part]][1:]


def grid(rows: list[Kept], note_is: str) -> list[str]:
    """Of the rows that name a column; their notes are the last one."""
    rows = [row for row in rows if row.get("column")]
    if not rows:
        return []
    columns = list(dict.fromkeys((row["column"], row["unit"]) for row in rows))
    heads = [f"{column}, {unit}" if unit else column for column, unit in columns]
    notes = {row["what"]: row["note"] for row in rows if row.get("note")}
    lines = [
        f"| | {' | '.join(heads)} |" + (f" {note_is} |" if notes else ""),
        "|---" + "|--:" * len(columns) + "|" + ("---|" if notes else ""),
    ]
    for what in dict.fromkeys(row["what"] for row in rows):
        values = {(row["column"], row["unit"]): plain(row["value"]) for row in rows if row["what"] == what}
        cells = " | ".join(values.get(column, "") for column in columns)
        lines.append(f"| {what} | {cells} |" + (f" {notes.get(what, '')} |" if notes else ""))
    return lines


def singles(rows: list[Kept]) -> list[str]:
    """Of the rows that stand alone."""
    rows = [row for row in rows if not row.get("column")]
    lines = ["| | | |", "|---|--:|---|"] if rows else []
    return lines + [f"| {row['what']} | {figure(row)} | {row.get('note', '')} |" for row in rows]


def figure(row: Kept) -> str:
    """A value with its unit."""
    return f"{plain(row['value'])} {row['unit']}".rstrip()


def main() -> int:
    """Fill the document, draw the plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, default=Path("build/bench"))
    parser.add_argument("--into", type=Path, default=Path("docs"), help="the folder for document and plots")
    parser.add_argument("--document", type=Path, default=Path("docs/performance.md"), help="whose words are kept")
    options = parser.parse_args()
    kept = read_all(options.source)
    if not kept:
        print(f"no figures in {options.source}: run python -m benchmarks.every first", file=sys.stderr)
        return 1
    for goal in GOALS:
        if "rows" in kept.get(goal.name, {}) and goal.found(kept) is None:
            print(f"{goal.name} has no row {goal.what!r} {goal.column!r}: its goal cannot be judged", file=sys.stderr)
    text = filled(options.document.read_text(encoding="utf-8"), kept)
    (options.into / options.document.name).write_text(text, encoding="utf-8")
    try:
        from benchmarks.plots import draw_all
    except ModuleNotFoundError as error:
        print(f"no plots: {error}; make bench installs what they need", file=sys.stderr)
        return 0
    for path in draw_all(kept, options.into):
        print(f"drew {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
