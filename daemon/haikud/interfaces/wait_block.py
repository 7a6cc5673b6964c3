"""The guide's progress block of a plan or task, redrawn in place on stderr while someone waits for it.

What it shows is the daemon's status.json, read when it was replaced, and once a second for its clocks. It is gone when
the wait ends: the answer has the figures then. Where stderr is no terminal there is nothing; where the terminal cannot
move its cursor, or is too low, `progress.py` writes lines.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from haikud.interfaces.looking import plan_of, refs_of, state_of
from haikud.interfaces.money import dollars
from haikud.interfaces.picture import listed_tasks, live_picture
from haikud.interfaces.picture_costs import cost_lines, listed_plans
from haikud.interfaces.picture_faults import fault_lines
from haikud.interfaces.picture_task import task_line
from haikud.interfaces.plain import can_show_marks, cut, one_line, seconds_since
from haikud.spool.layout import SpoolLayout

REDRAW_SECONDS = 1.0

_LEAST_ROWS = 8
_MOST_TASKS = 40
_AS_IT_IS_SAID = (80, 24)  # columns and rows of a terminal that does not say


class WaitBlock:
    """What is on the screen, and when to look again."""

    def __init__(self, layout: SpoolLayout, identifier: str) -> None:
        self.layout = layout
        self.identifier = identifier
        self._drawn = 0  # lines
        self._seen: tuple[int, int] | None = None
        self._next = 0.0

    @staticmethod
    def serves() -> bool:
        """Whether stderr is a terminal that can be redrawn in place."""
        if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return False
        return _size()[1] >= _LEAST_ROWS

    def look(self) -> None:
        """Redraw where there is news or a second has passed; cheap when called often."""
        now, seen = time.monotonic(), self._status_file()
        if now < self._next and seen == self._seen:
            return
        self._next, self._seen = now + REDRAW_SECONDS, seen
        columns, rows = _size()
        live = live_picture(self.layout)
        marks = can_show_marks(sys.stderr.encoding)
        lines = list(block_lines(live, self.identifier, columns=columns, rows=rows - 1, marks=marks) if live else [])
        if not lines:
            lines = [cut(line, columns) for line in self._without_daemon()]
        self._draw(lines)

    def clear(self) -> None:
        """Take it off the screen."""
        if self._drawn:
            self._draw([])

    def _status_file(self) -> tuple[int, int] | None:
        try:
            stat = self.layout.status_file.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def _without_daemon(self) -> Iterator[str]:
        refs = refs_of(self.layout, self.identifier)
        yield from (f"{ref}: {state_of(self.layout, ref) or 'between two states'}" for ref in refs[:5])
        if len(refs) > 5:
            yield f"and {len(refs) - 5} more"

    def _draw(self, lines: list[str]) -> None:
        """One write, so that no half of it is ever to be seen: up to where the block began, and over it."""
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"{line}\n" for line in lines)
        click.echo(f"{up}\r\x1b[J{body}", err=True, nl=False)
        self._drawn = len(lines)


def block_lines(live: dict[str, Any], identifier: str, *, columns: int, rows: int, marks: bool = True) -> Iterator[str]:
    """The block of a plan, or of one of its tasks; nothing where status.json does not have it. At most `rows` lines."""
    plan_id = plan_of(identifier)
    tasks = [task for task in listed_tasks(live) if task.get("plan") == plan_id]
    if identifier != plan_id:
        tasks = [task for task in tasks if task.get("ref") == identifier]
    plan = next((one for one in listed_plans(live) if one.get("id") == plan_id), None)
    if not tasks and plan is None:
        return
    head = [f"{chr(0x1F680)} Parallel Execution in Progress"] if marks and _counted(plan, "running") > 1 else []
    head += [f"The queue is paused ({one_line(live['paused'])})"] if live.get("paused") else []
    head += list(fault_lines(live, seconds_since))
    foot = list(_foot(plan, tasks, whole=identifier == plan_id))
    room = max(1, min(_MOST_TASKS, rows - len(head) - len(foot) - 2))
    shown = tasks[:room]
    ref_width = min(max((len(one_line(task.get("ref"))) for task in shown), default=0), 60)
    yield from (cut(line, columns) for line in head)
    if shown:
        yield "Tasks:"
    yield from (task_line(task, ref_width, columns, colour=marks) for task in shown)
    known = sum(plan["counts"].values()) if plan and isinstance(plan.get("counts"), dict) else 0
    left = (known if identifier == plan_id and known else len(tasks)) - len(shown)
    if left > 0:
        yield f"  and {left} more"
    yield from (cut(line, columns) for line in foot)


def _foot(plan: dict[str, Any] | None, tasks: list[dict[str, Any]], *, whole: bool) -> Iterator[str]:
    """The costs: the plan's, or where only one of its tasks is waited for, that one's."""
    if whole and plan is not None:
        yield from cost_lines(plan, questions=_counted(plan, "escalated"))
    elif not whole:
        yield from (f"Running Cost: {dollars(task.get('cost_usd'))}" for task in tasks[:1])


def _counted(plan: dict[str, Any] | None, state: str) -> int:
    counts = plan.get("counts") if plan else None
    number = counts.get(state) if isinstance(counts, dict) else 0
    return number if isinstance(number, int) else 0


def _size() -> tuple[int, int]:
    """Columns and rows of stderr's terminal."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return _AS_IT_IS_SAID
    return size.columns or _AS_IT_IS_SAID[0], size.lines or _AS_IT_IS_SAID[1]
