"""Which repositories may be worked in: those that the settings' `repositories` list, or the daemon's user's own.

An entry is a folder, and stands for all beneath it: an absolute path, `~/...` (of whoever asks), with `*`, `?` and
`[...]` for parts of one name. Real paths are compared, so that no symlink and no `..` leads out. A repository is where
its checkout and its git folder are: a listed folder with a `.git` that names another place is not listed.

A repository's own settings can make git run programs, outside of any sandbox and as the daemon. So where nothing is
listed only those count that the daemon's user or root owns; and one whose git folder lies where agents write, such as
in a worktree, never does: who may drop a plan could have made it by an earlier one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from haikud.contracts.settings import Settings
from haikud.spool.layout import SpoolLayout
from haikud.workspace.repository import Whereabouts

_MAGIC = frozenset("*?[")


def why_not_worked_in(where: Whereabouts, settings: Settings, spool_root: Path) -> str | None:
    """Why plans may not name a repository, with its places, to go on after "which"; None where they may."""
    why = why_not_listed([where.top, where.git_dir, where.git_common_dir], settings.repositories)
    if why is not None:
        return why
    for path in dict.fromkeys((where.git_dir, where.git_common_dir)):
        if (place := _written_by_agents(Path(path), settings, spool_root)) is not None:
            return f"has its git folder {path} in {place}, where agents write"
    if not settings.repositories:
        for path in (where.top, where.git_dir, where.git_common_dir):
            owner = Path(path).stat().st_uid
            if owner not in {0, os.geteuid()}:
                return f"belongs to user {owner} ({path}): only repositories that the settings list may be another's"
    return None


def why_not_listed(paths: Iterable[str], entries: Sequence[str]) -> str | None:
    """Which of a repository's paths is not listed, to go on after "which"; None where all are, or nothing is listed.

    Raises ValueError for a NUL byte.
    """
    if not entries:
        return None
    patterns = [_pattern(entry) for entry in entries]
    for path in paths:
        real = os.path.realpath(path)
        if not any(_is_beneath(Path(real).parts, fixed, names) for fixed, names in patterns):
            return f"is at {real}, which is in none of the settings' repositories"
    return None


def _written_by_agents(git_folder: Path, settings: Settings, spool_root: Path) -> str | None:
    """The folder that agents write, or whose parts they do, in which a git folder lies."""
    given = [settings.worktree_root, *settings.sandbox.writable]
    places = [os.path.realpath(Path(place).expanduser()) for place in given if place]
    for place in (*places, os.path.realpath(SpoolLayout(spool_root).plans)):
        if git_folder.is_relative_to(place):
            return place
    for folder in git_folder.parents:  # REPO/worktrees, and in a bare repository REPO/haikud/worktrees
        above = folder.parent
        if folder.name == "worktrees" and (
            (above / ".git").exists() or (above.name == "haikud" and (above.parent / "HEAD").exists())
        ):
            return str(folder)
    return None


def _pattern(entry: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an entry names literally, as its real path's parts, and the patterns of the names after it."""
    parts = Path(entry).expanduser().parts
    first = next((place for place, part in enumerate(parts) if _MAGIC & set(part)), len(parts))
    return Path(os.path.realpath(Path(*parts[:first]))).parts, parts[first:]


def _is_beneath(real: tuple[str, ...], fixed: tuple[str, ...], names: tuple[str, ...]) -> bool:
    rest = real[len(fixed) :]
    if real[: len(fixed)] != fixed or len(rest) < len(names):
        return False
    return all(fnmatchcase(part, name) for part, name in zip(rest, names, strict=False))
