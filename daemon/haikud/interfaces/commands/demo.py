"""`haikud demo`: everything once, on a spool and a repository made for it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from haikud.interfaces.plain import safe


@click.command()
@click.option("--live", is_flag=True, help="Use the real API, with $ANTHROPIC_API_KEY; it costs a little.")
@click.option("--keep", is_flag=True, help="Leave an earlier demo's folder; the new one lies beside it.")
@click.option(
    "--workdir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where to make the spool and the repository.  [default: ./.demo]",
)
@click.pass_context
def demo(ctx: click.Context, live: bool, keep: bool, workdir: Path | None) -> None:
    """Show it all once: a daemon, a request, an agent at work, the tests, the commit and the response.

    It needs no key and no network: the model is scripted and says so. With --live it is Claude Haiku.
    """
    from haikud.interfaces.demo import run_demo

    def out(text: str) -> None:
        click.echo(safe(text))
        sys.stdout.flush()

    ctx.exit(run_demo(live=live, keep=keep, workdir=workdir, out=out))
