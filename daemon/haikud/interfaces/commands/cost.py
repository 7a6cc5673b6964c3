"""`haikud cost`: what model calls have cost, by plan, day, role and model; and the guide's block of one plan."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.looking import check_id
from haikud.interfaces.places import find_spool, spool_option

if TYPE_CHECKING:
    from haikud.spool.layout import SpoolLayout

_AGE = re.compile(r"([0-9]{1,6})([dw])")
_DAYS = {"d": 1, "w": 7}


def read_since(ctx: click.Context, param: click.Parameter, value: str | None) -> date | None:
    """A day in UTC: 2026-11-01, 7d, 2w, today, yesterday; a usage error where it is none."""
    if value is None:
        return None
    today = datetime.now(tz=UTC).date()
    if value in {"today", "yesterday"}:
        return today - timedelta(days=value == "yesterday")
    match = _AGE.fullmatch(value)
    with suppress(ValueError, OverflowError):
        if match:
            return today - timedelta(days=int(match[1]) * _DAYS[match[2]])
        return date.fromisoformat(value)
    raise click.BadParameter(f"{value!r} is no day; write 2026-11-01, 7d, 2w, today or yesterday", ctx, param)


@click.command()
@click.argument("identifier", metavar="[ID]", required=False)
@click.option("--since", metavar="DAY", callback=read_since, help="Calls from that UTC day on: 2026-11-01, 7d, today.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@spool_option
def cost(identifier: str | None, since: date | None, as_json: bool, spool: Path | None) -> None:
    """Show what model calls have cost: by plan, day, role and model, or of ID, a plan or a task (PLAN.TASK).

    Estimated are calls that were cut, or lost when the gateway died: they count as what was seen of them, or as the
    most that they can have cost. The comparison is the same calls at Sonnet's prices.
    """
    layout = find_spool(spool)
    if identifier is not None:
        _show_plan(layout, check_id(identifier), since, as_json=as_json)
    else:
        _show_all(layout, since, as_json=as_json)


def _show_all(layout: SpoolLayout, since: date | None, *, as_json: bool) -> None:
    from haikud.costs.attribution import GROUPS
    from haikud.interfaces.costing import attribution_of
    from haikud.spool.usage_journal import journal_days

    has_journal = bool(journal_days(layout.gateway))
    found = attribution_of(layout, since)
    if as_json:
        from haikud.interfaces.answers import print_json

        groups = {
            f"{group}s": [{group: name, **spent.as_json()} for name, spent in found.rows(group)] for group in GROUPS
        }
        day = since.isoformat() if since else None
        print_json({"has_journal": has_journal, "since": day, "total": found.total.as_json(), **groups})
        return
    from haikud.interfaces.cost_text import attribution_tables, print_line, print_tables, spent_lines

    if not has_journal:
        print_line(
            f"There is no journal of model calls in {layout.gateway.usage}: no call was made through the gateway yet."
        )
        print_line("What one plan cost, by what its agents left: haikud cost PLAN")
        return
    began = f" since {since.isoformat()} (UTC)" if since else ""
    if not found.total.calls and not found.total.calls_under_way:
        print_line(f"No model call{began}.")
        return
    print_line(f"Model calls{began or ' so far'}")
    print_line("")
    print_tables(list(attribution_tables(found)))
    for line in spent_lines(found.total):
        print_line(line)


def _show_plan(layout: SpoolLayout, identifier: str, since: date | None, *, as_json: bool) -> None:
    from haikud.interfaces.costing import costs_of_plan

    costs = costs_of_plan(layout, identifier, since)
    block, spent = costs.block, costs.spent.as_json()
    if as_json:
        from haikud.interfaces.answers import print_json

        print_json(
            {
                "id": identifier,
                "final": costs.is_final or costs.is_pruned,
                "pruned": costs.is_pruned,
                "since": since.isoformat() if since else None,
                "agent_costs": block,
                "estimated_usd": spent["estimated_usd"],
                "calls": spent["calls"],
                "calls_under_way": spent["calls_under_way"],
                "under_way_usd": spent["under_way_usd"],
            }
        )
        return
    from haikud.interfaces.cost_text import agents_lines, agents_table, print_line, print_tables

    state = " (pruned)" if costs.is_pruned else "" if costs.is_final else ", so far"
    began = f", since {since.isoformat()} (UTC)" if since else ""
    print_line(f"{identifier}{state}{began}")
    print_tables([agents_table(block)])
    for line in agents_lines(block, costs.spent):
        print_line(line)
