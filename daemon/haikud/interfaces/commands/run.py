"""`haikud run`: the daemon, in the foreground, logging to stderr one line at a time."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.places import chosen_root, spool_option
from haikud.interfaces.trouble import Trouble
from haikud.spool.layout import SpoolLayout

if TYPE_CHECKING:
    from haikud.contracts.settings import Settings


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="The settings file.  [default: $HAIKUD_CONFIG, ./haikud.yaml, the user's, the system's]",
)
@spool_option
@click.pass_context
def run(ctx: click.Context, config: Path | None, spool: Path | None) -> None:
    """Run the daemon in the foreground; it makes the spool where there is none.

    Ctrl-C lets running agents finish and then ends; a second Ctrl-C ends them. SIGTERM ends the daemon alone: its
    agents go on, and the next daemon takes them up.

    The agents' key is read from $ANTHROPIC_API_KEY.
    """
    from haikud.engine.daemon import Secrets, run_daemon
    from haikud.workspace.gh import github_tokens

    settings = settings_or_trouble(config)
    _check_roles(settings)
    secrets = Secrets(
        api_key=os.environ.pop("ANTHROPIC_API_KEY", "").strip() or None,
        base_url=settings.api.base_url or os.environ.get("ANTHROPIC_BASE_URL") or None,
        github_tokens=github_tokens(os.environ),
    )
    if secrets.api_key is None:
        say("there is no ANTHROPIC_API_KEY: agents that ask a model will fail; export it and start again")
    layout = SpoolLayout(chosen_root(spool))
    ctx.exit(asyncio.run(run_daemon(layout, settings, secrets=secrets, foreground=True, say=say)))


def settings_or_trouble(config: Path | None) -> Settings:
    """The settings that hold, or `Trouble` with every fault."""
    from haikud.interfaces.settings_file import SettingsError, load_settings

    try:
        return load_settings(config, os.environ)
    except SettingsError as error:
        raise Trouble(
            "\n  ".join(["the settings cannot be used:", *error.faults]),
            advice="mend them and start again; docs/haikud.guide.yaml is an example of all there is",
        ) from None


def _check_roles(settings: Settings) -> None:
    """`Trouble` for roles and templates without which every request would be rejected."""
    from haikud.roles.catalogue import find_roles
    from haikud.roles.files import RoleError
    from haikud.roles.issue_templates import find_issue_templates
    from haikud.roles.templates import TemplateError, find_file_templates, find_templates

    advice = "correct roles_dir or templates_dir in the settings, or that file, and start again"
    templates_dir = Path(settings.templates_dir) if settings.templates_dir else None
    try:
        roles = find_roles(Path(settings.roles_dir) if settings.roles_dir else None)
        find_templates(templates_dir)
        find_file_templates(templates_dir)
        find_issue_templates(templates_dir)
    except (RoleError, TemplateError) as error:
        raise Trouble(f"the roles or templates cannot be used: {error}", advice=advice) from None
    if settings.default_role not in roles:
        known = ", ".join(sorted(roles))
        raise Trouble(
            f"the settings' default_role is {settings.default_role!r}, and there is no such role",
            advice=f"known are {known}; your own lie in roles_dir",
        )


def say(text: str) -> None:
    """One line of the daemon's log; lost where that cannot be written (it may lie on the disk that is full)."""
    from haikud.contracts.base import format_time, utc_now

    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.splitlines()))
    with suppress(OSError):
        sys.stderr.write(f"{format_time(utc_now())} {line}\n")
        sys.stderr.flush()
