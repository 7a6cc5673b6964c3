"""`haikud run`: the daemon, in the foreground, logging to stderr one line at a time."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.places import chosen_root, spool_option
from haikud.interfaces.trouble import Trouble
from haikud.spool.layout import SpoolLayout

if TYPE_CHECKING:
    from haikud.contracts.settings import Settings
    from haikud.spool.known_secrets import KnownSecrets


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="The settings file.  [default: $HAIKUD_CONFIG, ./haikud.yaml, the user's, the system's]",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line: time, level, message.")
@spool_option
@click.pass_context
def run(ctx: click.Context, config: Path | None, log_json: bool, spool: Path | None) -> None:
    """Run the daemon in the foreground; it makes the spool where there is none.

    Ctrl-C lets running agents finish and then ends; a second Ctrl-C ends them. SIGTERM ends the daemon alone: its
    agents go on, and the next daemon takes them up. SIGHUP has settings and roles reread; where the daemon was started
    at a terminal, which may hang up, it means SIGTERM.

    The API's key is read from $ANTHROPIC_API_KEY, else from the file that `api.key_file` names, else from systemd's
    $CREDENTIALS_DIRECTORY/anthropic_api_key. It stays in haikud: agents get tokens of its gateway.
    """
    from haikud.engine.daemon import Secrets, run_daemon
    from haikud.engine.log_levels import Warn
    from haikud.engine.reloading import SettingsRefused
    from haikud.interfaces.service.log_lines import choose_dress, log_to_stderr
    from haikud.interfaces.service.notify import take_supervisor
    from haikud.workspace.gh import github_tokens

    settings = settings_or_trouble(config)
    _check_roles(settings)
    dress = choose_dress(os.environ, as_json=log_json)
    say = log_to_stderr(dress)
    supervisor = take_supervisor(os.environ)
    os.environ.pop("JOURNAL_STREAM", None)
    key_is_a_variable = bool(os.environ.get("ANTHROPIC_API_KEY", "").strip())
    key = _take_key(settings)
    known = mask_secrets(settings, key)
    for warning in known.warnings:
        say(Warn(warning))
    secrets = Secrets(
        api_key=key,
        base_url=os.environ.get("ANTHROPIC_BASE_URL") or None,
        github_tokens=github_tokens(os.environ),
        given=known.given,
        masked=known.masked,
    )
    if secrets.api_key is None:
        why = "there is no ANTHROPIC_API_KEY, and no api.key_file: agents that ask a model will fail"
        say(Warn(f"{why}; give one and start again"))
    layout = SpoolLayout(chosen_root(spool))

    def reread() -> tuple[Settings, Secrets]:
        try:
            new = settings_or_trouble(config)
            _check_roles(new)
            key = secrets.api_key if key_is_a_variable else _take_key(new)
            known = mask_secrets(new, key)
        except Trouble as refused:
            raise SettingsRefused(" ".join(refused.message.split())) from None
        for warning in known.warnings:
            say(Warn(warning))
        return new, replace(secrets, api_key=key, given=known.given, masked=known.masked)

    serving = run_daemon(
        layout,
        settings,
        secrets=secrets,
        foreground=True,
        say=say,
        dress=dress,
        supervisor=supervisor,
        reread=reread if supervisor is not None or not _has_terminal() else None,
    )
    ctx.exit(asyncio.run(serving))


def _take_key(settings: Settings) -> str | None:
    """The API's key, no longer in our environment; `Trouble` where one is named and cannot be used."""
    from haikud.engine.gateway.credential import VARIABLE, CredentialFault, find_credential

    try:
        found = find_credential(os.environ, settings.api.key_file)
    except CredentialFault as error:
        raise Trouble(str(error), advice="mend it, or take `api.key_file` out of the settings") from None
    finally:
        os.environ.pop(VARIABLE, None)
    return found.value if found else None


def mask_secrets(settings: Settings, key: str | None) -> KnownSecrets:
    """Have this process mask what it knows; `Trouble` where a file that holds some cannot be read."""
    from haikud.contracts.masking import use_masker
    from haikud.spool.known_secrets import UnreadableSecrets, find_secrets

    try:
        known = find_secrets(os.environ, settings)
    except UnreadableSecrets as error:
        raise Trouble(str(error), advice="mend it, or take it out of `secrets.files` in the settings") from None
    use_masker(known.masker({key: "API key"} if key else None))
    return known


def _has_terminal() -> bool:
    """Whether a terminal's hang-up would reach us. Redirections change nothing about that, `setsid` does."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


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
