"""`haikud status --watch`: the picture, redrawn in place. The only module of the command line that loads `rich`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from haikud.interfaces.money import dollars
from haikud.interfaces.picture import listed_tasks, read_picture
from haikud.interfaces.picture_costs import plan_lines
from haikud.interfaces.picture_task import MARKS, NO_MARK, WORDS, seen_by_monitors
from haikud.interfaces.picture_text import foot_lines, head_lines
from haikud.interfaces.plain import can_show_marks, cells, one_line, seconds_since, span
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.5
_BAR_COLUMNS = 12
_LEAST_TASKS = 3  # however low the terminal

_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "escalated": "yellow", "cancelled": "dim"}


def watch(layout: SpoolLayout) -> None:
    """Redraw until Ctrl-C, on a screen of its own, so that a terminal of another size is redrawn whole."""
    if not can_show_marks(sys.stdout.encoding):
        with suppress(AttributeError):  # a title that the terminal cannot show is no reason to end
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            picture, columns = read_picture(layout), console.width
            above = sum(-(-max(1, cells(line)) // columns) for line in _head(picture))  # they are wrapped
            around = above + len(_foot(picture, columns)) + 3  # the headings, what is left out, the hint
            rows = max(_LEAST_TASKS, console.height - around)
            live.update(draw(picture, rows=rows, columns=columns, marks=can_show_marks(console.encoding)), refresh=True)
            time.sleep(LOOK_SECONDS)


def draw(picture: dict[str, Any], *, rows: int, columns: int = 100, marks: bool = True) -> Group:
    """The picture as something that rich can print, with at most `rows` tasks. Few `columns` show fewer things."""
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True)
    shown = [column for column in _COLUMNS if columns >= column.least]
    table.add_column("State", no_wrap=True)
    for column in shown:
        table.add_column(
            column.heading, justify=column.justify, ratio=column.ratio or None, no_wrap=True, overflow="ellipsis"
        )
    tasks = listed_tasks(picture)
    for task in tasks[:rows]:
        table.add_row(*(_state(task, marks=marks), *(column.cell(task) for column in shown)))
    more = [Text(f"and {len(tasks) - rows} more")] if len(tasks) > rows else []
    head = [Text(line) for line in _head(picture)]
    foot = [Text(line, no_wrap=True, overflow="ellipsis") for line in _foot(picture, columns)]
    return Group(*head, table, *more, *foot, Text("Ctrl-C ends this view, not the daemon.", style="dim"))


def _head(picture: dict[str, Any]) -> list[str]:
    return list(head_lines(picture))


def _foot(picture: dict[str, Any], columns: int) -> list[str]:
    return [*plan_lines(picture, columns), *foot_lines(picture)]


def _state(task: dict[str, Any], *, marks: bool) -> Text:
    state = one_line(task.get("state", "?"))
    mark = f"{MARKS.get(state, NO_MARK)} " if marks else ""
    return Text(f"{mark}{WORDS.get(state, state)}", style=_STYLES.get(state, ""))


def _title(task: dict[str, Any]) -> Text:
    """`Auth page (Haiku)`, as in the guide."""
    family = one_line(task.get("model_family") or "")
    return Text(one_line(task.get("title") or "") + (f" ({family})" if family else ""))


def _phase(task: dict[str, Any]) -> Text:
    """A running task's phase, or why it is looked at closely; of any other why it is where it is."""
    if task.get("state") == "running" and (seen := seen_by_monitors(task)):
        return Text(f"monitor: {seen}", style="yellow")
    if task.get("state") == "succeeded":
        return Text("")  # its state says it all
    return Text(one_line(task.get("phase" if task.get("state") == "running" else "reason") or ""))


def _percent_of(task: dict[str, Any]) -> int | None:
    percent = task.get("percent")
    return percent if task.get("state") == "running" and isinstance(percent, int) else None


def _percent(task: dict[str, Any]) -> Text:
    percent = _percent_of(task)
    return Text("" if percent is None else f"{percent}%")


def _bar(task: dict[str, Any]) -> RenderableType:
    percent = _percent_of(task)
    return Text("") if percent is None else ProgressBar(total=100, completed=percent, width=_BAR_COLUMNS)


def _time(task: dict[str, Any]) -> Text:
    since = seconds_since(task.get("started_at") if task.get("state") == "running" else None)
    return Text(span(since) if since is not None else "")


class _Column(NamedTuple):
    """A column: `ratio` is its share of the room that is left (0: what it needs), `least` the terminal it needs."""

    heading: str
    cell: Callable[[dict[str, Any]], RenderableType]
    ratio: int = 0
    least: int = 0
    justify: Literal["left", "right"] = "left"


_COLUMNS = (
    _Column("Task", lambda task: Text(one_line(task.get("ref"))), ratio=3),
    _Column("Title", _title, ratio=4, least=80),
    _Column("Phase", _phase, ratio=3, least=50),
    _Column("", _bar, least=100),
    _Column("", _percent, least=60, justify="right"),
    _Column("Cost", lambda task: Text(dollars(task.get("cost_usd"))), justify="right"),
    _Column("Time", _time, least=70, justify="right"),
)
