"""`haikud submit`: check a request, complete it, drop it, and say under which id it goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.answers import how_to_answer, print_answer, print_json
from haikud.interfaces.dropping import drop_request
from haikud.interfaces.following import follow
from haikud.interfaces.looking import request_is_pending
from haikud.interfaces.places import find_spool, spool_option, warn_without_daemon
from haikud.interfaces.plain import one_line
from haikud.interfaces.reading_requests import read_given
from haikud.interfaces.trouble import Trouble, note, warn
from haikud.interfaces.waiting import Dropped, EndKind, WaitEnd, look_for_answer

if TYPE_CHECKING:
    from haikud.interfaces.checking import Checked
    from haikud.spool.layout import SpoolLayout


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--wait", "waiting", is_flag=True, help="Wait for the response; print it and exit as `haikud wait` does.")
@click.option(
    "--follow", "following", is_flag=True, help="Print the agents' logs while they work; exit as `wait` does."
)
@click.option("--progress", is_flag=True, help="With --wait: tell what the agents report, on stderr.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait or --follow: exit 4 after S s.")
@click.option("--repository", type=click.Path(path_type=Path), metavar="PATH", help="The checkout to work on.")
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The daemon's settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@spool_option
@click.pass_context
def submit(
    ctx: click.Context,
    file: str,
    waiting: bool,
    following: bool,
    progress: bool,
    timeout: float | None,
    repository: Path | None,
    config: Path | None,
    as_json: bool,
    spool: Path | None,
) -> None:
    """Check the request in FILE (- is stdin), in any of the five shapes, and drop it into the spool.

    A folder with a Contextune plan (plan.yaml and tasks/ID.md) is taken too.

    A request that names no repository gets the checkout you are in; one without an id gets the file's name and a
    random end. Where it cannot be admitted, every fault is shown, nothing is dropped, and the exit code is 2.
    """
    if timeout is not None and not (waiting or following):
        raise Trouble("--timeout needs --wait or --follow", advice="or use `haikud wait ID --timeout S` afterwards")
    if progress and (following or not waiting):
        raise Trouble("--progress needs --wait, and says less than --follow", advice="take one of the two")
    layout = find_spool(spool)
    given = read_given(file)
    from haikud.interfaces.checking import check_request, is_same_as_known
    from haikud.interfaces.commands.run import settings_or_trouble

    settings = settings_or_trouble(config)
    checked = check_request(given, layout=layout, settings=settings, repository=repository, here=Path.cwd())
    for line in given.notes:
        warn(one_line(line))
    for warning in checked.plan.warnings:
        warn(one_line(warning))
    if is_same_as_known(layout, checked):
        note(f"{checked.plan.id} was submitted before with the same content: nothing runs twice")
    elif request_is_pending(layout, checked.plan.id):
        warn(f"a request {checked.plan.id} lies in incoming/ already; the one that is taken first keeps the id")
    at = time.time()
    dropped = Dropped(drop_request(layout.incoming, checked.plan.id, checked.suffix, checked.data), at, checked.data)
    ends_here = not (waiting or following)
    _say(layout, checked, dropped, as_json=as_json and ends_here, to_stderr=not ends_here)
    warn_without_daemon(layout, "the request lies in incoming/")
    if ends_here:
        return
    from haikud.interfaces.commands.wait import show_end, wait_and_show

    plan_id = checked.plan.id
    if not following:
        ctx.exit(wait_and_show(layout, plan_id, timeout=timeout, as_json=as_json, progress=progress, dropped=dropped))
    end = _follow(layout, plan_id, timeout, dropped)
    if waiting or end.kind is EndKind.TIMEOUT:
        ctx.exit(show_end(layout, end, timeout=timeout, as_json=as_json))
    _say_end(end)
    ctx.exit(end.exit_code)


def _say(layout: SpoolLayout, checked: Checked, dropped: Dropped, *, as_json: bool, to_stderr: bool) -> None:
    plan = checked.plan
    if as_json:
        refs = [task.ref for task in plan.tasks]
        print_json({"spool": str(layout.root), "id": plan.id, "refs": refs, "file": dropped.name})
        return
    click.echo(f"spool: {layout.root}", err=to_stderr)
    click.echo(f"id: {plan.id}", err=to_stderr)


def _follow(layout: SpoolLayout, plan_id: str, timeout: float | None, dropped: Dropped) -> WaitEnd:
    """Print the plan's logs until there is an answer, a question, or no time left."""
    limit = None if timeout is None else time.monotonic() + timeout
    found: list[WaitEnd] = []

    def is_over() -> bool:
        end = look_for_answer(layout, plan_id, dropped)
        if end is None and limit is not None and time.monotonic() >= limit:
            end = WaitEnd(EndKind.TIMEOUT, plan_id, {})
        if end is not None:
            found.append(end)
        return bool(found)

    follow(layout, plan_id, is_over=is_over)
    return found[0]


def _say_end(end: WaitEnd) -> None:
    if end.kind is EndKind.BLOCKED:
        print_answer(end, as_json=False)
        note(f"{end.ref} asks a question; {how_to_answer(end.ref)}")
        return
    note(f"{end.ref}: {one_line(end.document.get('status'))}; the response: {end.path}")
