"""Temporary files that a writer left which was killed between writing and renaming.

They were never anybody's word and nothing reads them. They are recognised by the form of their name alone, which only
spool/durable.py gives; so nothing is removed but in folders whose writers are known to be gone. Fails with OSError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from haikud.spool.durable import remove_if_there
from haikud.spool.layout import SpoolLayout

_TEMPORARY = re.compile(r"\..+\.([0-9]{1,9})-[0-9a-f]{8}\.tmp", re.DOTALL)


def writer_of(name: str) -> int | None:
    """The pid of the process whose temporary file bears that name; None where it is no temporary file's."""
    match = _TEMPORARY.fullmatch(name)
    return int(match[1]) if match else None


def is_leftover(name: str, *, spare: int | None = None) -> bool:
    """Whether a name is that of a temporary file; those of the process `spare` do not count."""
    return writer_of(name) not in {None, spare}


def remove_leftovers(folders: Iterable[Path], *, spare: int | None = None) -> list[Path]:
    """Remove the temporary files in these folders, not below them; which they were. `spare`: a writer that lives."""
    return [path for folder in folders for path in _remove_of(folder, names_in(folder), spare)]


def remove_task_leftovers(task: Path, names: list[str]) -> list[Path]:
    """As `remove_leftovers` of `task_folders`, where `names` lie in the task's folder: there may be very many tasks."""
    removed = _remove_of(task, names, None)
    return removed + remove_leftovers(task / name for name in names if name.startswith("attempt-"))


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in no order; none where there is none."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_of(folder: Path, names: list[str], spare: int | None) -> list[Path]:
    removed = []
    for name in names:
        if name.endswith(".tmp") and is_leftover(name, spare=spare):
            path = folder / name
            with suppress(IsADirectoryError):  # no writer's: whoever made a folder of that name holds nothing up
                remove_if_there(path)
                removed.append(path)
    return removed


def shared_folders(layout: SpoolLayout) -> list[Path]:
    """The folders in which the daemon alone writes, whatever the tasks do."""
    return [layout.root, layout.responses, layout.escalations, layout.rejected, layout.pruned]


def task_folders(task: Path) -> list[Path]:
    """A task's folder and those of its attempts: the daemon's, and a runner's while there is one."""
    return [task, *task.glob("attempt-*")]
