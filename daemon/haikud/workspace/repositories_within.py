"""Repositories that an agent left within its worktree, made harmless.

Git enters them by itself where they are committed as submodules, and obeys their filters and hooks there, whatever
settings it was called with.

Each keeps what it holds and the settings that only say what and where; commands, hooks and what leads to other settings
are taken out. A `.git` that leads to neither the worktree, the agent's own git folder nor the repository is removed.
The agent has ended: nobody writes there meanwhile. Fails with OSError and `GitError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from haikud.workspace.files import drop_odd_entries, is_folder, is_there, read_small, remove_entry, write_quickly
from haikud.workspace.git import Git
from haikud.workspace.private_folder import setting_lines

_HARMLESS = re.compile(
    rb"(core\.(repositoryformatversion|bare|worktree|filemode|symlinks|ignorecase|precomposeunicode|logallrefupdates"
    rb"|autocrlf|eol|safecrlf|sparsecheckout|sparsecheckoutcone)|extensions\.(objectformat|refstorage)"
    rb"|user\.(name|email)|init\.defaultbranch|(commit|tag)\.gpgsign|gc\.auto|maintenance\.auto"
    rb"|remote\..*\.(url|fetch|tagopt)|branch\..*\.(remote|merge|rebase)|submodule\..*\.(url|active|update))",
    re.DOTALL,
)
_LEADS_ELSEWHERE = ("config.worktree", "commondir")
_LARGEST = 1_048_576


def disarm(nested: Iterable[Path], ours: Iterable[Path], repository: Path) -> list[str]:
    """Make each `.git` of `nested` harmless; those where something was taken out. `ours`: where the agent wrote."""
    return [
        str(place.parent)
        for place in nested
        if _disarm(place, [Path(os.path.realpath(one)) for one in ours], repository)
    ]


def _disarm(place: Path, ours: list[Path], repository: Path) -> bool:
    if is_folder(place):
        return _disarm_folder(place)
    named = re.fullmatch(rb"gitdir: (.+?)\s*", read_small(place, 4096) or b"", re.DOTALL)
    folder = Path(os.path.realpath(place.parent / os.fsdecode(named[1]))) if named and b"\0" not in named[1] else None
    if folder is not None and any(folder.is_relative_to(one) for one in ours) and is_folder(folder):
        return _disarm_folder(folder)
    if folder is not None and folder.is_relative_to(os.path.realpath(repository)):
        return False
    remove_entry(place)
    return True


def _disarm_folder(folder: Path) -> bool:
    changed = bool(drop_odd_entries(folder))
    hooks = folder / "hooks"
    found = [hooks / name for name in os.listdir(hooks)] if is_folder(hooks) else []  # noqa: PTH208 -- names
    obeyed = [one for one in found if one.suffix != ".sample"] + [folder / name for name in _LEADS_ELSEWHERE]
    for one in obeyed:
        if is_there(one):
            remove_entry(one)
            changed = True
    return _disarm_settings(folder / "config") or changed


def _disarm_settings(config: Path) -> bool:
    if not is_there(config):
        return False
    listed = None
    if read_small(config, _LARGEST) is not None:
        ran = Git(None).ask("config", "--file", str(config), "--no-includes", "--null", "--list", ok=None)
        listed = [one for one in ran.stdout.split(b"\0") if one] if ran.exit_code == 0 else None
    kept = [one for one in listed or [] if _HARMLESS.fullmatch(one.partition(b"\n")[0])]
    if listed is not None and len(kept) == len(listed):
        return False
    pairs = (
        (os.fsdecode(key), os.fsdecode(value) if sign else None)
        for key, sign, value in (one.partition(b"\n") for one in kept)
    )
    remove_entry(config)
    write_quickly(config, os.fsencode("".join(setting_lines(key, value) for key, value in pairs)))
    return True
