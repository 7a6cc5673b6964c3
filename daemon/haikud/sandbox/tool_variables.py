"""Where tools that look for themselves in HOME find themselves, as an agent's HOME is its own and begins empty.

`~/.cargo/bin/cargo` is rustup: without RUSTUP_HOME it asks the new HOME which toolchain to run, and has none. The
folders are those that `tool_homes` opens for the same PATH; a variable of ours goes first, as images for containers
set it to a place that everybody reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from haikud.sandbox.tool_homes import home_above

_VARIABLES = {
    ".cargo/bin": ("RUSTUP_HOME", ".rustup"),
    ".pyenv": ("PYENV_ROOT", ".pyenv"),
    ".rbenv": ("RBENV_ROOT", ".rbenv"),
    ".nodenv": ("NODENV_ROOT", ".nodenv"),
    ".jenv": ("JENV_ROOT", ".jenv"),
    ".asdf": ("ASDF_DATA_DIR", ".asdf"),
    ".volta": ("VOLTA_HOME", ".volta"),
    ".elan": ("ELAN_HOME", ".elan"),
    ".local/share/mise": ("MISE_DATA_DIR", ".local/share/mise"),
}
"""Beneath a home folder: where PATH leads to; the variable, and the folder that it names."""


def tool_variables(path: str, home: Path, host: Mapping[str, str]) -> dict[str, str]:
    """For a PATH such as the commands will have; `host` is our own environment. Only folders that exist."""
    found: dict[str, str] = {}
    for entry in path.split(os.pathsep):
        at = Path(os.path.normpath(entry))
        for beneath, (name, folder) in _VARIABLES.items():
            whose = home_above(at, beneath, home) if entry.startswith("/") else None
            if whose is not None and (whose / folder).is_dir():
                found.setdefault(name, str(whose / folder))
    for name, _ in _VARIABLES.values():
        place = host.get(name, "")
        if place.startswith("/") and Path(place).is_dir():
            found[name] = place
    return found
