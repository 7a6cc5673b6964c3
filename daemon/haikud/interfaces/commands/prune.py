"""`haikud prune`: remove finished plans and their worktrees, where no work is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.places import find_spool, spool_option
from haikud.interfaces.plain import one_line
from haikud.interfaces.trouble import Trouble

if TYPE_CHECKING:
    from haikud.engine.upkeep.prune import PlanReport

_SPAN = re.compile(r"([0-9]+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_age(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    """A duration such as 30d, 12h or 2w; a usage error where it is none."""
    match = _SPAN.fullmatch(value)
    try:
        if match:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        pass
    raise click.BadParameter(f"{value!r} is no age; write 30d, 12h or 2w (s, m, h, d, w)", ctx, param)


@click.command()
@click.option(
    "--older-than", metavar="AGE", callback=read_age, required=True, help="How long ago its last task ended: 30d, 12h."
)
@click.option("--rescue", is_flag=True, help="Save commits that are nowhere else as refs/haikud/rescue/REF.")
@click.option("--rejected", is_flag=True, help="Remove files in rejected/ that are as old, too.")
@click.option("--dry-run", "dry", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@spool_option
def prune(older_than: timedelta, rescue: bool, rejected: bool, dry: bool, as_json: bool, spool: Path | None) -> None:
    """Remove finished plans and their worktrees from the spool.

    A plan goes only where nothing of it is lost: no uncommitted file, and each branch merged into the main branch,
    pushed, or (with --rescue) saved. Merged and saved branches are deleted, pushed ones stay. What stays is said, and
    why. The id of a plan that went stays used.
    """
    from haikud.contracts.base import utc_now
    from haikud.engine.upkeep.prune import PruneIsRunning, Wish, prune_plans
    from haikud.engine.upkeep.rejected import prune_rejected
    from haikud.spool.layout import SpoolLayout

    layout = SpoolLayout(find_spool(spool).root.resolve())
    try:
        before = utc_now() - older_than
    except OverflowError:
        raise Trouble("--older-than reaches back before the first year", advice="write a smaller age") from None
    try:
        reports = prune_plans(layout, Wish(before, rescue=rescue, dry=dry))
    except PruneIsRunning:
        raise Trouble(f"another prune works on {layout.root}", advice="wait for it", exit_code=1) from None
    gone = prune_rejected(layout, before, dry=dry) if rejected else []
    if as_json:
        from haikud.interfaces.answers import print_json

        print_json({"dry_run": dry, "plans": [one.as_json() for one in reports], "rejected": gone})
        return
    for line in _lines(reports, gone, dry=dry):
        click.echo(line.encode("utf-8", "replace"))


def _lines(reports: list[PlanReport], gone: list[str], *, dry: bool) -> Iterator[str]:
    word = "would prune" if dry else "pruned"
    for report in reports:
        if report.pruned:
            why = f" ({report.why})" if report.why else ""
            yield f"{word} {report.plan_id}{why}"
        else:
            yield f"kept {report.plan_id}{f': {one_line(report.why)}' if report.why else ''}"
        for task in report.tasks:
            said = task.kept if not report.pruned else task.branch
            if said:
                yield f"  {task.ref}: {one_line(said)}"
    for name in gone:
        yield f"{'would remove' if dry else 'removed'} rejected/{one_line(name)}"
    count = sum(report.pruned for report in reports)
    yield f"{count} plan{'s' * (count != 1)} {'to prune' if dry else word}, {len(reports) - count} kept"
