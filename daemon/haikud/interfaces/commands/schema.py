"""`haikud schema`: the JSON Schemas of everything on disk, written from the contracts."""

from __future__ import annotations

from pathlib import Path

import click

from haikud.interfaces.trouble import Trouble


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail (exit 1) where a file differs.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="schemas")
def schema(check: bool, folder: Path) -> None:
    """Write NAME.schema.json for every kind of file in a spool into DIR (./schemas by default)."""
    from haikud.interfaces.schema_export import differing, write_schemas

    if not check:
        written = write_schemas(folder)
        click.echo(f"{folder}: wrote {len(written)}" if written else f"{folder}: all schemas are as they should be")
        return
    wrong = differing(folder)
    if wrong:
        raise Trouble(
            f"schemas in {folder} differ from the contracts: {', '.join(wrong)}",
            advice=f"write them again: haikud schema {folder}",
            exit_code=1,
        )
    click.echo(f"{folder}: all schemas are as they should be")
