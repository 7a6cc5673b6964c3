"""Where a repository's objects lie: its own folder, and those that it borrows from, and those that they do."""

from __future__ import annotations

import os
from pathlib import Path

_DEEPEST = 5
"""Git follows no more."""

_MOST_BYTES = 65_536


def object_folders(git_common_dir: Path) -> list[Path]:
    """The folders that exist, the repository's own first. `objects/info/alternates` names others, one a line."""
    found: dict[Path, None] = {}
    level = [git_common_dir / "objects"]
    for _ in range(_DEEPEST + 1):
        level = [folder for folder in level if folder not in found and folder.is_dir()]
        found.update(dict.fromkeys(level))
        level = [other for folder in level for other in _named_by(folder)]
    return list(found)


def _named_by(objects: Path) -> list[Path]:
    try:
        with (objects / "info" / "alternates").open("rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return []
    names = [os.fsdecode(line) for line in lines if line and not line.startswith(b"#")]
    return [Path(os.path.normpath(objects / name)) for name in names if "\0" not in name]
