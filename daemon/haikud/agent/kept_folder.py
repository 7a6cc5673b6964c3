"""`out/keep`: what a command agent keeps over the attempts of its task, such as a session to go on with.

Before the agent starts, the folder of the newest earlier attempt that has one is moved, by one rename, into this
attempt's `out/`. Promises: what lies there was made by an agent and is never followed: only a real folder in a real
`out` is moved, anything else is left where it is, with a warning. An attempt that begins afresh (`fresh`) gets none,
and none from before the last such attempt is brought back. A crash before or after the rename loses nothing: the folder
is found where it lies. Not moving it is never a failure: the agent begins anew.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

from haikud.agent.attempt import Attempt
from haikud.contracts.attempt import Spec
from haikud.spool.layout import AttemptPaths
from haikud.spool.models import UnreadableFile, read_model

KEEP = "keep"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def carry_on_kept_folder(attempt: Attempt) -> None:
    """Move the newest kept folder here. Does nothing in a first attempt, or where there is none."""
    if attempt.spec.fresh:
        return
    for number in range(attempt.spec.attempt - 1, 0, -1):
        earlier = attempt.task_paths.attempt(number)
        try:
            found = _move(earlier.folder, attempt.paths.folder)
        except OSError as error:
            attempt.warn(f"attempt {number}'s out/keep was not taken over: {error.strerror or error}")
            return
        if found:
            attempt.log.line(f"attempt {number}'s out/keep was taken over")
        if found or _began_afresh(earlier):
            return


def _move(earlier: Path, here: Path) -> bool:
    """Whether there was one, and it is here now. Raises OSError where there is something else, or it will not move."""
    with ExitStack() as opened:
        try:
            source = _open_out(earlier, opened)
            kind = os.stat(KEEP, dir_fd=source, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(kind):
            raise NotADirectoryError(0, "it is no folder")
        os.rename(KEEP, KEEP, src_dir_fd=source, dst_dir_fd=_open_out(here, opened))
        return True


def _open_out(folder: Path, opened: ExitStack) -> int:
    outer = os.open(folder, _FOLDER)
    opened.callback(os.close, outer)
    out = os.open("out", _FOLDER, dir_fd=outer)
    opened.callback(os.close, out)
    return out


def _began_afresh(earlier: AttemptPaths) -> bool:
    try:
        spec = read_model(earlier.spec, Spec)
    except UnreadableFile:
        return True
    return spec is None or spec.fresh
