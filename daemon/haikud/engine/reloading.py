"""Rereading settings and roles while the daemon runs.

All or nothing: what cannot be used changes nothing, and the log and the status line say why until a later reload has
been good. What was begun goes on by the settings it was begun with: those of an attempt stand in its spec.json.

Some settings hold for the daemon's life, as what they are about is made once at its start (FIXED); a changed one is
named, and waits for a restart. `HAIKUD_*` variables are those the daemon was started with, as for any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from haikud.contracts.settings import Settings
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.drops.folders import WatchedFolder, follow_settings
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.secrets import Secrets

FIXED = ("group", "watcher", "poll_seconds")
"""The spool's folders were opened to the group, and are being watched."""


class SettingsRefused(Exception):  # noqa: N818 - reads as what it is
    """Settings or roles that cannot be used; the message says which and why, in one line."""


Reread = Callable[[], tuple[Settings, Secrets]]
"""The settings as they stand now, checked with the roles, templates and key that they name. Raises SettingsRefused."""


async def reload_settings(engine: Engine, reread: Reread, roles: RoleLookup, folders: Iterable[WatchedFolder]) -> None:
    """Reread, and go by what was read from now on."""
    supervisor = engine.supervisor
    supervisor.reloading()
    try:
        new, secrets = await engine.aside_or_here(reread)
    except SettingsRefused as refused:
        roles.keep()
        engine.settings_fault = f"settings not reloaded: {refused}"
        engine.say(Warn(f"{engine.settings_fault}; the old ones hold"))
    else:
        engine.secrets = secrets
        _follow(engine, new, roles, folders)
    supervisor.ready()


def _follow(engine: Engine, new: Settings, roles: RoleLookup, folders: Iterable[WatchedFolder]) -> None:
    old = engine.settings
    waiting = [name for name in FIXED if getattr(new, name) != getattr(old, name)]
    new = new.model_copy(update={name: getattr(old, name) for name in FIXED})
    changed = [name for name in type(new).model_fields if getattr(new, name) != getattr(old, name)]
    engine.settings, engine.settings_fault = new, None
    engine.day_may_have_room = new.budgets.day_usd > old.budgets.day_usd
    roles.follow(new)
    for folder in folders:
        follow_settings(folder.drops, new)
        folder.look()
    engine.gateway.follow(new, engine.secrets)
    engine.say(f"settings and roles reread: {', '.join(changed) or 'no setting'} changed")
    if waiting:
        engine.say(Warn(f"{', '.join(waiting)} cannot change while the daemon runs: restart it for that"))
