"""`haikud status`: what runs, waits and failed, and what it costs."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path

import click

from haikud.interfaces.picture import read_picture
from haikud.interfaces.places import find_spool, spool_option
from haikud.interfaces.plain import can_show_marks
from haikud.interfaces.trouble import Trouble


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.option("--watch", "live", is_flag=True, help="Keep it on the screen and up to date.")
@spool_option
def status(as_json: bool, live: bool, spool: Path | None) -> None:
    """Show what runs, waits and failed, and what it costs.

    Counts of succeeded, failed and cancelled tasks are those since the daemon began; without a daemon, all there are.
    """
    if as_json and live:
        raise Trouble("--json and --watch do not go together", advice="read status.json yourself, once a second")
    layout = find_spool(spool)
    if live:
        if not sys.stdout.isatty():
            raise Trouble("--watch needs a terminal", advice="use `haikud status --json`, as often as you like")
        from haikud.interfaces.picture_live import watch

        with suppress(KeyboardInterrupt):  # the view is gone then; its last picture stays
            watch(layout)
    picture = read_picture(layout)
    if as_json:
        from haikud.interfaces.answers import print_json

        print_json(picture)
        return
    from haikud.interfaces.picture_text import picture_lines

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    marks = sys.stdout.isatty() and can_show_marks(sys.stdout.encoding)
    text = "\n".join(picture_lines(picture, colour=marks, width=width))
    click.echo(text.encode("utf-8", "replace"))
