"""Reading what a command is given as a request: a file, stdin, or a folder that is turned into one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from haikud.interfaces.given import Given
from haikud.interfaces.trouble import Trouble

_NAMES_TASK_FILE = re.compile(rb"""^\s*(?:-\s+)?["']?file["']?:\s*["']?tasks/\S+\.md\b""", re.MULTILINE)
"""What only the index of a Contextune plan has."""


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
