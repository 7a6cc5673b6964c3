"""`haikud doctor`: what is wrong with the machine or the spool, and the cure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.places import find_spool, spool_option
from haikud.interfaces.plain import one_line
from haikud.interfaces.trouble import Trouble, note

if TYPE_CHECKING:
    from haikud.engine.upkeep.findings import Finding
    from haikud.engine.upkeep.machine import Surroundings

EXIT_FAULTS = 1


@click.command()
@click.option("--repair", "mend", is_flag=True, help="Mend what can be mended; only while no daemon runs.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding for programs.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="The settings file.  [default: $HAIKUD_CONFIG, ./haikud.yaml, the user's, the system's]",
)
@spool_option
@click.pass_context
def doctor(ctx: click.Context, mend: bool, as_json: bool, config: Path | None, spool: Path | None) -> None:
    """Examine the machine and the spool.

    Reads only, and may be run at any time. Each line is `ok`, a `note` (worth knowing; harms nothing, or the next
    daemon settles it) or a `fault`, with its cure. Exit code 1 where a fault is left.
    """
    from haikud.engine.upkeep.doctor import examine, has_faults, repair
    from haikud.spool.daemon_lock import SpoolIsTaken
    from haikud.spool.layout import SpoolLayout

    layout = SpoolLayout(find_spool(spool).root.resolve())
    around = _surroundings(config)
    try:
        findings = repair(layout, around) if mend else examine(layout, around, _say_on_a_terminal)
    except SpoolIsTaken as error:
        who = f"pid {error.pid}" if error.pid else "a pid that is not known"
        raise Trouble(
            f"a daemon ({who}) serves {layout.root}; it settles by itself what belongs to its work",
            advice="look without --repair; to mend what stays: haikud stop --wait, then haikud doctor --repair",
        ) from None
    if as_json:
        from haikud.interfaces.answers import print_json

        print_json([finding.as_json() for finding in findings])
    else:
        for line in _lines(findings, str(layout.root)):
            click.echo(line.encode("utf-8", "replace"))
    if has_faults(findings):
        ctx.exit(EXIT_FAULTS)


def _surroundings(config: Path | None) -> Surroundings:
    from haikud.contracts.settings import default_settings
    from haikud.engine.upkeep.machine import Surroundings
    from haikud.interfaces.settings_file import SettingsError, load_settings

    try:
        return Surroundings(load_settings(config, os.environ), [], os.environ)
    except SettingsError as error:
        return Surroundings(default_settings(), error.faults, os.environ)


def _say_on_a_terminal(text: str) -> None:
    if sys.stderr.isatty():
        note(text)


def _lines(findings: list[Finding], root: str) -> Iterator[str]:
    """The machine first, then what was mended, then what was found, then the sum."""
    from haikud.engine.upkeep.findings import MACHINE

    groups = (
        ("machine", [one for one in findings if one.code in MACHINE and not one.repaired]),
        ("mended", [one for one in findings if one.repaired]),
        ("spool", [one for one in findings if one.code not in MACHINE and not one.repaired]),
    )
    for title, members in groups:
        if members:
            yield f"{title}:"
        for one in members:
            yield from _one(one, root)
    faults = sum(one.severity == "fault" for one in findings)
    notes = sum(one.severity == "note" for one in findings)
    mended = sum(one.repaired for one in findings)
    sums = [f"{faults} fault{'s' * (faults != 1)}", f"{notes} note{'s' * (notes != 1)}"]
    sums += [f"{mended} mended"] if mended else []
    yield f"{'ok' if not faults else 'not ok'}: {', '.join(sums)}"


def _one(finding: Finding, root: str) -> Iterator[str]:
    word = "mended" if finding.repaired else str(finding.severity)
    place = finding.path.removeprefix(f"{root}/")
    where = f" ({one_line(place)})" if place and place != root else ""
    ref = f"{one_line(finding.ref)}: " if finding.ref else ""
    yield f"  {word:<6} {finding.code}: {ref}{one_line(finding.message)}{where}"
    if finding.cure and not finding.repaired and finding.severity != "ok":
        yield f"         -> {one_line(finding.cure)}"
