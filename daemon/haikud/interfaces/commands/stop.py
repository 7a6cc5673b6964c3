"""`haikud stop`: let the daemon end, after its agents or with them."""

from __future__ import annotations

import time
from pathlib import Path

import click

from haikud.interfaces.dropping import drop
from haikud.interfaces.places import find_spool, spool_option
from haikud.interfaces.trouble import Trouble, note
from haikud.spool.daemon_lock import daemon_pid

LOOK_SECONDS = 0.1


@click.command()
@click.option("--now", is_flag=True, help="End the agents too; their tasks are queued again, no retry is counted.")
@click.option("--wait", is_flag=True, help="Return when the daemon has ended.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait: give up (exit 4).")
@spool_option
def stop(now: bool, wait: bool, timeout: float | None, spool: Path | None) -> None:
    """Stop the daemon: it starts nothing more and ends when its running agents have.

    A stop is for the daemon that runs now; one that starts later does not obey it.
    """
    layout = find_spool(spool)
    pid = daemon_pid(layout)
    if pid is None:
        note(f"no daemon runs on {layout.root}; there is nothing to stop")
        return
    drop(layout.control, "all.stop-now" if now else "all.stop", b"")
    manner = "its agents are ended with it" if now else "it ends when its running agents have"
    click.echo(f"asked the daemon (pid {pid}) to stop; {manner}")
    end = None if timeout is None else time.monotonic() + timeout
    while wait and daemon_pid(layout) == pid:
        if end is not None and time.monotonic() >= end:
            advice = "wait again" if now else "its agents are at work; `haikud stop --now` ends them too"
            raise Trouble(f"the daemon (pid {pid}) has not ended after {timeout:g} s", advice=advice, exit_code=4)
        time.sleep(LOOK_SECONDS)
    if wait:
        click.echo("the daemon has ended")
