"""Which folders make the programs on PATH work, where those lie in a home folder or anywhere but the system's places.

A PATH entry alone is not enough: `~/.pyenv/shims` is nothing without `~/.pyenv/versions`. What is returned is as
little as such tools need, never a home folder itself, never a place where a tool keeps its credentials.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOTS: dict[str, tuple[str, ...]] = {
    ".pyenv": (".pyenv",),
    ".nvm": (".nvm",),
    ".cargo/bin": (".cargo/bin", ".cargo/env", ".cargo/registry", ".cargo/git", ".rustup"),  # not credentials.toml
    ".asdf": (".asdf", ".tool-versions"),
    ".local/share/mise": (".local/share/mise", ".config/mise"),
    ".volta": (".volta",),
    ".nodenv": (".nodenv",),
    ".rbenv": (".rbenv",),
    ".rvm": (".rvm",),
    ".sdkman": (".sdkman",),
    ".jenv": (".jenv",),
    ".ghcup": (".ghcup",),
    ".opam": (".opam",),
    ".dotnet": (".dotnet",),
    ".deno": (".deno",),
    ".bun": (".bun",),
    ".local/share/fnm": (".local/share/fnm",),
    ".local/state/fnm_multishells": (".local/state/fnm_multishells", ".local/share/fnm"),
    ".local/share/pnpm": (".local/share/pnpm",),
    ".npm-global": (".npm-global",),
    ".npm-packages": (".npm-packages",),
    "n/bin": ("n",),
    ".yarn/bin": (".yarn/bin", ".config/yarn/global"),
    ".composer/vendor/bin": (".composer/vendor",),  # not auth.json
    ".config/composer/vendor/bin": (".config/composer/vendor",),
    ".local/share/gem/ruby": (".local/share/gem/ruby",),
    ".gem/ruby": (".gem/ruby",),  # not credentials
    ".elan": (".elan",),
    ".pixi": (".pixi",),
    "go/bin": ("go/bin", "go/pkg/mod"),
    ".local/bin": (
        ".local/bin",
        ".local/lib",
        ".local/pipx/venvs",
        ".local/share/pipx/venvs",
        ".local/share/uv/tools",
        ".local/share/uv/python",
        ".local/share/claude/versions",
    ),
}
"""Beneath the home folder: where PATH leads to, and what must be readable then."""

_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta", "Cellar")
"""In a folder that is one whole with its `bin`: a virtual environment, conda's, Homebrew's."""


def tool_homes(path: str, home: Path) -> list[Path]:
    """The folders and files that exist, for a PATH such as the commands will have."""
    found: dict[Path, None] = {}
    for entry in path.split(os.pathsep):
        place = Path(os.path.normpath(entry)) if entry.startswith("/") else None
        if place is None or not place.is_dir():
            continue
        for root in _needed(place, home):
            if root.exists() and not _is_or_holds(root, home):
                found[root] = None
    return list(found)


def _needed(place: Path, home: Path) -> Iterator[Path]:
    for beneath, roots in _ROOTS.items():
        whose = home_above(place, beneath, home)
        if whose is not None:
            yield from (whose / root for root in roots)
            return
    root = place.parent
    if any((root / mark).exists() for mark in _ENVIRONMENT_MARKS):
        yield root
        yield from _base_of(root, home)
        return
    yield place


def home_above(place: Path, beneath: str, home: Path) -> Path | None:
    """The home folder in which `beneath` holds the place: HOME, or another where the name leaves no doubt."""
    if f"/{beneath}" not in str(place):
        return None
    if place.is_relative_to(home / beneath):
        return home
    if beneath.startswith("."):
        for above in (place, *place.parents):
            if str(above).endswith(f"/{beneath}"):
                return Path(str(above).removesuffix(f"/{beneath}") or "/")
    return None


def _base_of(root: Path, home: Path) -> Iterator[Path]:
    """The Python that a virtual environment was made from."""
    try:
        lines = (root / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "home" and value.strip().startswith("/"):
            base = Path(os.path.realpath(value.strip()))
            if base == Path(os.path.realpath(home / ".local/bin")):  # much else lies beside it
                yield from (home / one for one in _ROOTS[".local/bin"])
            elif base.name == "bin":
                yield base.parent


def _is_or_holds(place: Path, home: Path) -> bool:
    """Whether that would be the home folder itself, or a folder that it lies in."""
    real_place, real_home = (Path(os.path.realpath(one)) for one in (place, home))
    return real_home.is_relative_to(real_place)
