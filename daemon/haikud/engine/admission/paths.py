"""Paths in a plan: relative, beneath the worktree, and nothing that git or a shell could take for something else."""

from __future__ import annotations

import re

from haikud.engine.admission.fields import Notes, Stated
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.values import has_control_characters, quoted

LONGEST_PATH = 4_000
LONGEST_NAME = 255

_EXPECTED = "a path relative to the repository's top, such as src/app.py"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def checked_path(stated: Stated, notes: Notes) -> str | None:
    """The path without `./` and doubled slashes; None and a fault where it cannot be used."""
    problem = _problem(stated.text)
    if problem is None:
        is_folder = stated.text.endswith("/")
        return "/".join(part for part in stated.text.split("/") if part not in {"", "."}) + "/" * is_folder
    found, fix = problem
    notes.add(FaultCode.BAD_PATH, stated.pointer, found=f"{quoted(stated.text)}, {found}", expected=_EXPECTED, fix=fix)
    return None


def _problem(path: str) -> tuple[str, str] | None:
    """What is wrong with a path, and the fix; None for a good one."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    checks = (
        (has_control_characters(path), "which has control characters", "remove them"),
        (path.startswith("/"), "an absolute path", f"write it relative: {_relative(parts)}"),
        (bool(_DRIVE.match(path)), "a path with a drive letter", "write it relative, with /"),
        (path.startswith("~"), "a path in a home folder", "write it relative to the repository's top"),
        (
            any(name.startswith("-") for name in (path, *parts[:1])),
            "which reads like an option",
            "begin the name with another character than -",
        ),
        (".." in parts, "which leaves the worktree or takes a detour through ..", _without_dots(parts)),
        (not parts, "the worktree itself", "name a file"),
        (any(part.lower() == ".git" for part in parts), "a path into .git", "leave git's own files alone"),
        (
            len(path.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts),
            "which is too long for a file system",
            f"at most {LONGEST_NAME} bytes for each name",
        ),
    )
    return next(((found, fix) for is_so, found, fix in checks if is_so), None)


def _relative(parts: list[str]) -> str:
    return "/".join(parts) or "src/app.py"


def _without_dots(parts: list[str]) -> str:
    kept: list[str] = []
    for part in parts:
        if part != "..":
            kept.append(part)
        elif kept:
            kept.pop()
        else:
            return "name a file beneath the repository's top"
    return f"write {'/'.join(kept)}" if kept else "name a file beneath the repository's top"
