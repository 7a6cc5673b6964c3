"""One writer per repository: a kernel lock on `COMMON/haikud.lock`.

`git worktree add` fails when several run at once, and a ref, the worktree list and `info/exclude` have one writer
each. The lock is advisory, among haikud's own processes of every spool; the kernel frees it with its holder. Fails
with `RepositoryIsBusy` after `timeout` seconds. It does not nest.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haikud.workspace.git import WorkspaceError

LOCK_NAME = "haikud.lock"


class RepositoryIsBusy(WorkspaceError):  # noqa: N818 - says what is the case
    """Another haikud process held the repository's lock for too long."""

    code = "REPOSITORY_BUSY"


@contextmanager
def repository_lock(git_common_dir: str | Path, timeout: float = 600.0) -> Iterator[None]:
    """Hold the repository's lock; `git_common_dir` is absolute. Waits up to `timeout` seconds."""
    path = Path(git_common_dir) / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        message = f"cannot lock the repository ({path}: {error.strerror}); haikud must be able to write its git folder"
        raise WorkspaceError(message) from error
    try:
        _take(fd, path, timeout)
        try:
            yield
        finally:
            # Said aloud: a process that another thread forks just now shares the descriptor until it execs.
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _take(fd: int, path: Path, timeout: float) -> None:
    give_up_at = time.monotonic() + timeout
    pause = 0.002
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                message = f"another haikud process has held {path} for over {timeout:.0f} s"
                raise RepositoryIsBusy(message) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        else:
            return
