"""Doing something as another user of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_another_user(folder: Path, work: Callable[[], None]) -> None:
    """Run `work` in a child of user NOBODY whose working directory is `folder`; it fails where the child does."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)  # before: the folders above are closed to others
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except BaseException as error:  # noqa: BLE001 - nothing of the child may run on in the test runner
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
