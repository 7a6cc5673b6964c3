"""The tables of `haikud cost`: by `rich` on a terminal, as aligned lines in a pipe. Pure but for printing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from haikud.costs.attribution import GROUPS, Attribution, Spent
from haikud.interfaces.money import dollars
from haikud.interfaces.plain import one_line

_MOST_ROWS = 40
_WIDEST = 50  # of a plan's id or a task's title
_NO_AGENTS = ("total_cost", "comparison")

Row = Sequence[str]


class Table(NamedTuple):
    """Rows below headings; the first `words` columns are words, the others figures."""

    headings: Row
    rows: list[Row]
    words: int = 1
    more: int = 0  # rows that are left out


def print_tables(tables: Sequence[Table]) -> None:
    """The tables, one below the other."""
    if sys.stdout.isatty():
        _print_rich(tables)
        return
    for number, table in enumerate(tables):
        click.echo("\n".join([*([""] if number else []), *plain_lines(table)]).encode("utf-8", "replace"))


def print_line(line: str) -> None:
    """A line of words."""
    click.echo(one_line(line).encode("utf-8", "replace"))


def attribution_tables(found: Attribution) -> Iterator[Table]:
    """A table for each group, with the total below the last."""
    for group in GROUPS:
        rows = found.rows(group)
        shown = [_row(name, spent) for name, spent in rows[:_MOST_ROWS]]
        if group == GROUPS[-1]:
            shown.append(_row("total", found.total))
        headings = (f"by {group}", "calls", "input", "output", "cost", "estimated", "all Sonnet", "saved")
        yield Table(headings, shown, more=len(rows) - len(rows[:_MOST_ROWS]))


def agents_table(block: dict[str, Any]) -> Table:
    """The guide's block: who did what, with which model, for how much."""
    rows = [
        (
            name,
            one_line(agent.get("model"), _WIDEST),
            one_line(agent.get("task", ""), _WIDEST),
            f"{agent['input_tokens']:,}",
            f"{agent['output_tokens']:,}",
            "unknown" if agent["cost_usd"] is None else dollars(agent["cost_usd"]),
        )
        for name, agent in block.items()
        if name not in _NO_AGENTS
    ]
    total = ("total", "", "", "", "", dollars(block["total_cost"]))
    return Table(("agent", "model", "task", "input", "output", "cost"), [*rows, total], words=3)


def agents_lines(block: dict[str, Any], spent: Spent) -> Iterator[str]:
    """What stands below that table."""
    compared = block["comparison"]
    saved = compared["savings_usd"]
    if compared["if_all_sonnet"]:
        share = f"{dollars(saved)} or {compared['savings_percent']}% saved" if saved >= 0 else "nothing saved"
        yield f"{dollars(compared['if_all_sonnet'])} if all Sonnet: {share}"
    main = block.get("main_agent", {})
    if main.get("reported"):
        yield "the main agent's cost is what it said itself"
    if main.get("unpriced_tokens"):
        yield f"{main['unpriced_tokens']:,} tokens of the main agent have no known price and are in no sum"
    yield from spent_lines(spent)


def spent_lines(spent: Spent) -> Iterator[str]:
    """What is not certain of a sum."""
    if spent.estimated:
        yield f"of which estimated: {dollars(float(spent.estimated))} (calls that were cut or lost)"
    if spent.calls_under_way:
        plural = "s" if spent.calls_under_way != 1 else ""
        yield f"under way: {spent.calls_under_way} call{plural}, at most {dollars(float(spent.under_way))} more"


def plain_lines(table: Table) -> list[str]:
    """Aligned columns, two blanks between them: words to the left, figures to the right."""
    grid = [list(table.headings), *([*row] for row in table.rows)]
    widths = [max(len(row[column]) for row in grid) for column in range(len(table.headings))]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column < table.words else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]
    return [*lines, f"and {table.more} more: haikud cost --json"] if table.more else lines


def _row(name: str, spent: Spent) -> Row:
    row = spent.as_json()
    return (
        one_line(name, _WIDEST),
        f"{spent.calls:,}",
        f"{spent.input_tokens:,}",
        f"{spent.output_tokens:,}",
        dollars(row["cost_usd"]),
        dollars(row["estimated_usd"]) if spent.estimated else "-",
        dollars(row["if_all_sonnet"]),
        f"{row['savings_percent']}%",
    )


def _print_rich(tables: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for number, table in enumerate(tables):
        drawn = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column, heading in enumerate(table.headings):
            is_word = column < table.words
            drawn.add_column(heading, justify="left" if is_word else "right", no_wrap=not is_word, overflow="ellipsis")
        for row in table.rows:
            style = "bold" if row[0] == "total" else ""
            drawn.add_row(*(Text(cell, style="dim" if cell == "-" else style) for cell in row))
        if number:
            console.print()
        console.print(drawn)
        if table.more:
            console.print(Text(f"and {table.more} more: haikud cost --json", style="dim"))
