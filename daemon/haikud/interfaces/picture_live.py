"""`haikud status --watch`: the picture, redrawn in place. The only module of the command line that loads `rich`."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from haikud.interfaces.picture import listed_tasks, read_picture, seconds_since
from haikud.interfaces.picture_text import ICONS, foot_lines, head_lines
from haikud.interfaces.plain import dollars, one_line, span
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.5

_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "escalated": "yellow", "cancelled": "dim"}


def watch(layout: SpoolLayout) -> None:
    """Redraw until Ctrl-C."""
    console = Console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            live.update(draw(read_picture(layout), rows=max(3, console.height - 10)), refresh=True)
            time.sleep(LOOK_SECONDS)


def draw(picture: dict[str, Any], *, rows: int) -> Group:
    """The picture as something that rich can print, with at most `rows` tasks."""
    table = Table(box=None, padding=(0, 1), expand=True)
    for heading, ratio in (("", 0), ("Task", 3), ("Title", 4), ("Phase", 2), ("", 2), ("Cost", 1), ("Time", 2)):
        table.add_column(heading, ratio=ratio or None, no_wrap=True, overflow="ellipsis")
    tasks = listed_tasks(picture)
    for task in tasks[:rows]:
        state = one_line(task.get("state", "?"))
        percent = task.get("percent")
        since = seconds_since(task.get("started_at") if state == "running" else None)
        table.add_row(
            Text(f"{ICONS.get(state, '')} {state}", style=_STYLES.get(state, "")),
            Text(one_line(task.get("ref"))),
            Text(one_line(task.get("title") or "")),
            Text(one_line(task.get("phase") or "") if state == "running" else one_line(task.get("reason") or "")),
            ProgressBar(total=100, completed=percent) if state == "running" and isinstance(percent, int) else Text(""),
            Text(dollars(task.get("cost_usd"))),
            Text(span(since) if since is not None else ""),
        )
    more = [Text(f"and {len(tasks) - rows} more")] if len(tasks) > rows else []
    head = [Text(line) for line in head_lines(picture)]
    foot = [Text(line) for line in foot_lines(picture)]
    return Group(*head, table, *more, *foot, Text("Ctrl-C ends this view, not the daemon.", style="dim"))
