"""What runners and their forkserver get of the daemon's environment: built from nothing, never the key. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from haikud.contracts.settings import Settings
from haikud.engine.attempts.specs import secret_values
from haikud.spool.layout import AttemptPaths

PASSED_ON = (
    *("PATH", "HOME", "LANG"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "ANTHROPIC_CONFIG_DIR"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("XDG_CONFIG_HOME", "GH_CONFIG_DIR", "GH_HOST", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),  # gh's own login
)
"""What a runner gets of the daemon's environment, beside what the settings name."""


def runner_environment(host: Mapping[str, str], settings: Settings, paths: AttemptPaths) -> dict[str, str]:
    """A runner's environment, built from nothing; never the key, nor what secrets.names keeps from agents.

    Of `set_values` those that look secret: they stand in no spec.json. HAIKUD_OUT marks the runner's process tree.
    """
    kept_back = {*settings.secrets.names, "ANTHROPIC_API_KEY"}
    values = plain_environment(host, settings.environment.pass_names) | secret_values(settings.environment)
    return {name: values[name] for name in values if name not in kept_back} | {"HAIKUD_OUT": str(paths.out)}


def plain_environment(host: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """What every process of ours gets, runners and their forkserver, and the named variables. Never the key."""
    found = {name: host.get(name) for name in (*PASSED_ON, *more) if name != "ANTHROPIC_API_KEY"}
    fallback = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return fallback | {name: value for name, value in found.items() if value is not None}
