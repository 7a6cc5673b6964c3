"""Which spool a command works on. With the standard library and click alone: `haikud status` waits for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from haikud.interfaces.trouble import Trouble, warn
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

NEWEST_FORMAT = 1
"""The on-disk format that these commands can read (`contracts/format.py` says the same to the daemon)."""

F = TypeVar("F", bound=Callable[..., Any])


def spool_option(command: F) -> F:
    """`--spool DIR`, given to the command as `spool: Path | None`."""
    return click.option(
        "--spool",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The spool directory.  [default: $HAIKUD_SPOOL, else ./spool]",
    )(command)


def chosen_root(spool: Path | None) -> Path:
    """The absolute path of the spool that was asked for, whether it exists or not."""
    return Path(os.path.abspath(spool or os.environ.get("HAIKUD_SPOOL") or "spool"))  # noqa: PTH100 - keeps symlinks


def find_spool(spool: Path | None) -> SpoolLayout:
    """The spool to work on; `Trouble` where there is none, with what to do."""
    root = chosen_root(spool)
    if spool is not None:
        named = "--spool names it"
    elif os.environ.get("HAIKUD_SPOOL"):
        named = "$HAIKUD_SPOOL names it"
    else:
        named = "it is the default; --spool DIR or $HAIKUD_SPOOL names another"
    layout = SpoolLayout(root)
    try:
        stated = json.loads(layout.format_file.read_bytes())
    except FileNotFoundError:
        there = "is no spool yet" if root.is_dir() else "does not exist"
        raise Trouble(
            f"the spool {root} {there} ({named})",
            advice=f"start the daemon there, which makes it: haikud run --spool {root}",
        ) from None
    except NotADirectoryError:
        raise Trouble(f"{root} is a file, not a spool ({named})", advice="name a spool's directory") from None
    except (ValueError, PermissionError) as error:
        raise Trouble(
            f"cannot read {layout.format_file}: {error}",
            advice="is it a spool, and are you allowed to read it? `haikud run` makes a new one in an empty folder",
        ) from None
    number = stated.get("format") if isinstance(stated, dict) else None
    if not isinstance(number, int) or number > NEWEST_FORMAT:
        raise Trouble(
            f"the spool {root} has format {number!r}; this haikud reads up to {NEWEST_FORMAT}",
            advice="use the haikud that serves it, or a newer one",
        )
    return layout


def warn_without_daemon(layout: SpoolLayout, what: str) -> None:
    """Say on stderr that no daemon serves the spool, where none does. `what` says what waits until one comes."""
    if daemon_pid(layout) is None:
        warn(f"no daemon runs on {layout.root}; {what} until one does: haikud run --spool {layout.root}")
