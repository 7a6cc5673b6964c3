"""`haikud wait`: the response of a plan or task, as soon as it is there."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from haikud.interfaces.answers import how_to_answer, print_answer
from haikud.interfaces.looking import check_id, check_not_pruned, check_task_of_known_plan, is_known
from haikud.interfaces.places import find_spool, spool_option, warn_without_daemon
from haikud.interfaces.progress import ProgressLines, describe_now
from haikud.interfaces.progress_events import ProgressEvents
from haikud.interfaces.trouble import note, warn
from haikud.interfaces.wait_block import WaitBlock
from haikud.interfaces.waiting import Dropped, EndKind, WaitEnd, look_for_answer, wait_for_answer
from haikud.spool.layout import SpoolLayout


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="Give up after so many seconds (exit 4).")
@click.option("--json", "as_json", is_flag=True, help="Print the whole JSON, on a terminal too.")
@click.option("--progress", is_flag=True, help="Tell what the agents report, on stderr; with --json as messages.")
@spool_option
@click.pass_context
def wait(
    ctx: click.Context, identifier: str, timeout: float | None, as_json: bool, progress: bool, spool: Path | None
) -> None:
    """Wait for the response of ID, a plan or a task (PLAN.TASK), and print it.

    In a pipe the response is printed as JSON. Exit codes: 0 success, 1 failure or partial, 2 usage, 3 blocked by an
    open question (which is printed), 4 timeout, 5 rejected, 6 cancelled.
    """
    layout = find_spool(spool)
    check_id(identifier)
    if look_for_answer(layout, identifier) is None:
        check_not_pruned(layout, identifier)
        check_task_of_known_plan(layout, identifier)
        if not is_known(layout, identifier):
            warn(f"{layout.root} knows nothing of {identifier} yet; waiting for it to appear")
        warn_without_daemon(layout, "no answer will come")
    ctx.exit(wait_and_show(layout, identifier, timeout=timeout, as_json=as_json, progress=progress))


def wait_and_show(
    layout: SpoolLayout,
    identifier: str,
    *,
    timeout: float | None,
    as_json: bool,
    progress: bool = False,
    dropped: Dropped | None = None,
) -> int:
    """Wait, print what came, and give the exit code."""
    events = ProgressEvents(layout, identifier, as_json=as_json) if progress else None
    block = WaitBlock(layout, identifier) if events is None and WaitBlock.serves() else None
    look = events.look if events else block.look if block else ProgressLines(layout, identifier).look
    try:
        end = wait_for_answer(layout, identifier, timeout=timeout, dropped=dropped, each_look=look)
    finally:
        if block:
            block.clear()
    if events:
        events.look(last=True)
    return show_end(layout, end, timeout=timeout, as_json=as_json)


def show_end(layout: SpoolLayout, end: WaitEnd, *, timeout: float | None, as_json: bool) -> int:
    """Print how a wait ended, and give its exit code."""
    if end.kind is EndKind.TIMEOUT:
        note(f"no answer after {timeout:g} s: {describe_now(layout, end.ref)}")
        click.echo(f"  wait again, or follow it: haikud logs {end.ref} -f", err=True)
        return end.exit_code
    print_answer(end, as_json=as_json)
    sys.stdout.flush()
    if end.kind is EndKind.BLOCKED:
        note(f"{end.ref} asks a question; {how_to_answer(end.ref)}")
    return end.exit_code
