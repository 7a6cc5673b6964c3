"""Progress of a plan or task on a terminal, while someone waits: a line on stderr whenever there is news.

Of a terminal that can redraw in place, `wait_block.py` makes better use.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from haikud.interfaces.looking import plan_of, read_json, refs_of, state_of
from haikud.interfaces.money import dollars
from haikud.interfaces.plain import one_line
from haikud.spool.layout import SpoolLayout


def live_tasks(layout: SpoolLayout, identifier: str) -> list[dict[str, Any]]:
    """What status.json says of a plan's tasks, or of one task."""
    tasks = (read_json(layout.status_file) or {}).get("tasks")
    whole_plan = identifier == plan_of(identifier)
    return [
        task
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, dict) and (task.get("ref") == identifier or (whole_plan and task.get("plan") == identifier))
    ]


def describe_live(task: dict[str, Any]) -> str:
    """`running, implement 40%: Editing calc.py, $0.02 so far`."""
    text = one_line(task.get("state", "?"))
    if task.get("state") == "running" and task.get("phase"):
        percent = task.get("percent")
        text += f", {one_line(task['phase'])}" + (f" {percent}%" if isinstance(percent, int) else "")
    words = one_line(task.get("message") if task.get("state") == "running" else task.get("reason"), 60)
    if words and words != "None":
        text += f": {words}"
    cost = task.get("cost_usd")
    return f"{text}, {dollars(cost)} so far" if cost or task.get("state") == "running" else text


def describe_now(layout: SpoolLayout, identifier: str) -> str:
    """Where an ID's tasks are, in a few words, with or without a daemon."""
    told = [f"{one_line(task.get('ref'))} is {describe_live(task)}" for task in live_tasks(layout, identifier)]
    if not told:
        told = [f"{ref} is {state_of(layout, ref) or 'between two states'}" for ref in refs_of(layout, identifier)]
    shown = "; ".join(told[:5])
    return f"{shown}; and {len(told) - 5} more" if len(told) > 5 else shown or f"{identifier} is not admitted"


class ProgressLines:
    """Says on stderr what changed since the last look; says nothing where stderr is no terminal."""

    def __init__(self, layout: SpoolLayout, identifier: str) -> None:
        self.layout = layout
        self.identifier = identifier
        self.said: dict[str, str] = {}
        self.seen: tuple[int, int] | None = None
        self.wanted = sys.stderr.isatty()

    def look(self) -> None:
        """One look; nothing is read where status.json is the one seen before."""
        if not self.wanted:
            return
        try:
            stat = self.layout.status_file.stat()
        except OSError:
            return
        if self.seen == (stat.st_ino, stat.st_mtime_ns):
            return
        self.seen = (stat.st_ino, stat.st_mtime_ns)
        for task in live_tasks(self.layout, self.identifier):
            ref, text = one_line(task.get("ref")), describe_live(task)
            if self.said.get(ref) != text:
                self.said[ref] = text
                click.echo(f"{ref}: {text}", err=True)
