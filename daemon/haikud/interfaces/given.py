"""What a command is given as a request: a file, stdin, or a folder that is turned into one."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from haikud.interfaces.trouble import Trouble

_NAMES_TASK_FILE = re.compile(rb"""^\s*(?:-\s+)?["']?file["']?:\s*["']?tasks/\S+\.md\b""", re.MULTILINE)
"""What only the index of a Contextune plan has."""


@dataclass(frozen=True)
class Given:
    """A request's name and bytes; where it was put together from other files, what to know about that."""

    name: str
    data: bytes
    places: Mapping[str, str] = field(default_factory=dict)  # JSON Pointer -> FILE:LINE that it was made from
    notes: tuple[str, ...] = ()


def read_given(file: str) -> Given:
    """Read it: `-` is stdin, a folder (or its plan.yaml) a Contextune plan. Raises Trouble."""
    if file == "-":
        return Given("request", sys.stdin.buffer.read())
    path = Path(file)
    if path.is_dir():
        return _imported(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Trouble(f"there is no file {file}", advice="name a request's file, or - for stdin") from None
    except OSError as error:
        raise Trouble(f"cannot read {file}: {error.strerror}", advice="name a request's file, or -") from None
    if path.name in {"plan.yaml", "plan.yml"} and _NAMES_TASK_FILE.search(data) and (path.parent / "tasks").is_dir():
        return _imported(path.parent)
    return Given(path.name, data)


def _imported(folder: Path) -> Given:
    from haikud.interfaces.contextune.plan_folder import import_folder

    return import_folder(folder)


def place_of(pointer: str, places: Mapping[str, str]) -> str:
    """A pointer, or where what it points at was read: the place of the nearest value around it."""
    at = pointer
    while places:
        if at in places:
            return places[at] if at == pointer or not at else f"{places[at]} ({pointer[len(at) + 1 :]})"
        if not at:
            break
        at = at.rpartition("/")[0]
    return pointer
