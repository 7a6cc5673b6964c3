"""`haikud install-service`, `haikud uninstall-service`: haikud under systemd, for a user or for the system."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haikud.interfaces.trouble import Trouble

if TYPE_CHECKING:
    from haikud.interfaces.service.placing import Placing
    from haikud.interfaces.service.unit_files import UnitFile

HIDDEN = ("/home", "/root", "/run/user")
"""What the system unit does not see (ProtectHome=)."""

UNTOLD = "systemd does not know it yet: run that once it does"

_user = click.option("--user", "for_user", is_flag=True, help="A service of your own, for repositories in your home.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.command("install-service")
@_user
@click.option(
    "--spool",
    type=click.Path(path_type=Path),
    default=None,
    help="With --user: the spool it serves.  [default: ~/haikud/spool]",
)
@_dry_run
def install_service(for_user: bool, spool: Path | None, dry_run: bool) -> None:
    """Place haikud's unit for systemd, with all it needs; say how to start, follow and stop it.

    Without --user, as root: a system service with a user of its own, hardened, its spool in /var/lib/haikud/spool.
    Doing it again, as after an upgrade, changes only what is new. Your own changes belong in `systemctl edit haikud`.
    """
    from haikud.interfaces.service.placing import NotOurs, Placing

    if spool is not None and not for_user:
        raise Trouble("--spool goes with --user", advice="the system service's spool is /var/lib/haikud/spool")
    given = _files(spool, for_user=for_user)
    placing = Placing(click.echo, dry_run)
    try:
        placing.place(given)
    except NotOurs as error:
        raise Trouble(
            f"{error}: nothing was done",
            advice="put your changes into a drop-in (`systemctl edit haikud`), move that file away and call this again",
        ) from None
    _recommend_bubblewrap()
    if for_user:
        _finish_user(placing, spool or Path.home() / "haikud/spool")
    else:
        _finish_system(placing)


@click.command("uninstall-service")
@_user
@_dry_run
def uninstall_service(for_user: bool, dry_run: bool) -> None:
    """Stop the service and remove what install-service has placed; never the spool, settings or key.

    Agents at work go on; `haikud stop --wait` before this lets them finish.
    """
    from haikud.interfaces.service.placing import Placing
    from haikud.interfaces.service.unit_files import Standing, standing

    given = _files(None, for_user=for_user)
    placing = Placing(click.echo, dry_run)
    unit = given[-1].path
    systemctl = ("systemctl", "--user") if for_user else ("systemctl",)
    if standing(unit) is Standing.OURS:
        placing.run(*systemctl, "disable", "--now", "haikud.service", otherwise="stop the daemon yourself")
    if not placing.remove(given):
        click.echo("nothing of install-service is there")
        return
    placing.run(*systemctl, "daemon-reload", otherwise=UNTOLD)
    if for_user:
        click.echo("left: the spool, ~/.config/haikud, and lingering (loginctl disable-linger ends that)")
    else:
        click.echo("left: /var/lib/haikud with the spool, /etc/haikud, and the user haikud (userdel haikud removes it)")


def _files(spool: Path | None, *, for_user: bool) -> list[UnitFile]:
    from haikud.interfaces.service.unit_files import our_command, system_files, user_files

    command = our_command(sys.argv[0], os.environ)
    if for_user:
        return user_files(command, _config(), spool.absolute() if spool else None)
    if os.geteuid() != 0:
        raise Trouble("a system service is root's to place", advice="use sudo, or --user for a service of your own")
    if any(Path(command[0]).is_relative_to(hidden) for hidden in HIDDEN):
        raise Trouble(
            f"{command[0]} lies in a home folder, which the system service does not see",
            advice="install haikud elsewhere (python3 -m venv /opt/haikud), or use --user",
        )
    return system_files(command)


def _recommend_bubblewrap() -> None:
    from haikud.sandbox.bwrap import find_bwrap

    if find_bwrap() is None:
        click.echo(
            "recommended: bubblewrap (apt-get install bubblewrap): without it agents' commands run in Landlock, which "
            "holds less, or not at all; `haikud doctor` says what works here"
        )


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _finish_user(placing: Placing, spool: Path) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    folder = _config() / "haikud"
    placing.folder(folder)
    placing.run(
        *("loginctl", "enable-linger", name),
        otherwise=f"without lingering your logout ends the service and all agents: sudo loginctl enable-linger {name}",
    )
    placing.run("systemctl", "--user", "daemon-reload", otherwise=UNTOLD)
    click.echo(f"""
settings:  {folder}/haikud.yaml (none are needed)
key:       ANTHROPIC_API_KEY=... in {folder}/environment; chmod 600 it
spool:     export HAIKUD_SPOOL={spool.absolute()}
start:     systemctl --user enable --now haikud
follow:    journalctl --user -u haikud -f
reload:    systemctl --user reload haikud (settings and roles)
stop:      systemctl --user stop haikud (agents go on; `haikud stop` lets them finish first)""")


def _finish_system(placing: Placing) -> None:
    placing.run("systemd-sysusers", "/etc/sysusers.d/haikud.conf", otherwise="make the user haikud yourself")
    placing.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/haikud.conf", otherwise="run that before the start")
    placing.run("systemctl", "daemon-reload", otherwise=UNTOLD)
    click.echo("""
settings:  /etc/haikud/haikud.yaml (none are needed)
key:       one line in /etc/haikud/anthropic_api_key
spool:     export HAIKUD_SPOOL=/var/lib/haikud/spool
start:     systemctl enable --now haikud
follow:    journalctl -u haikud -f
reload:    systemctl reload haikud (settings and roles)
stop:      systemctl stop haikud (agents go on; `haikud stop` lets them finish first)""")
