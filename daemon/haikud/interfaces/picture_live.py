"""`haikud status --watch`: the picture, redrawn in place. The only module of the command line that loads `rich`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from haikud.interfaces.money import dollars
from haikud.interfaces.picture import listed_tasks, read_picture, seconds_since
from haikud.interfaces.picture_text import ICONS, foot_lines, head_lines, seen_by_monitors
from haikud.interfaces.plain import one_line, span
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.5
_BAR_COLUMNS = 12
_OTHER_ROWS = 10  # above and below the tasks

_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "escalated": "yellow", "cancelled": "dim"}


def watch(layout: SpoolLayout) -> None:
    """Redraw until Ctrl-C, on a screen of its own, so that a terminal of another size is redrawn whole."""
    console = Console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            rows, columns = max(3, console.height - _OTHER_ROWS), console.width
            live.update(draw(read_picture(layout), rows=rows, columns=columns), refresh=True)
            time.sleep(LOOK_SECONDS)


def draw(picture: dict[str, Any], *, rows: int, columns: int = 100) -> Group:
    """The picture as something that rich can print, with at most `rows` tasks. Few `columns` show fewer things."""
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True)
    shown = [column for column in _COLUMNS if columns >= column.least]
    for column in shown:
        table.add_column(
            column.heading, justify=column.justify, ratio=column.ratio or None, no_wrap=True, overflow="ellipsis"
        )
    tasks = listed_tasks(picture)
    for task in tasks[:rows]:
        table.add_row(*(column.cell(task) for column in shown))
    more = [Text(f"and {len(tasks) - rows} more")] if len(tasks) > rows else []
    head = [Text(line) for line in head_lines(picture)]
    foot = [Text(line) for line in foot_lines(picture)]
    return Group(*head, table, *more, *foot, Text("Ctrl-C ends this view, not the daemon.", style="dim"))


def _state(task: dict[str, Any]) -> Text:
    state = one_line(task.get("state", "?"))
    return Text(f"{ICONS.get(state, ' ' * 2)} {state}", style=_STYLES.get(state, ""))


def _phase(task: dict[str, Any]) -> Text:
    """A running task's phase, or why it is looked at closely; of any other why it is where it is."""
    if task.get("state") == "running" and (seen := seen_by_monitors(task)):
        return Text(f"monitor: {seen}", style="yellow")
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
    _Column("State", _state),
    _Column("Task", lambda task: Text(one_line(task.get("ref"))), ratio=3),
    _Column("Title", lambda task: Text(one_line(task.get("title") or "")), ratio=4, least=90),
    _Column("Phase", _phase, ratio=3, least=50),
    _Column("", _bar, least=100),
    _Column("", _percent, least=60, justify="right"),
    _Column("Cost", lambda task: Text(dollars(task.get("cost_usd"))), justify="right"),
    _Column("Time", _time, least=70, justify="right"),
)
