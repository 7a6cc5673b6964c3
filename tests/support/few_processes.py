"""A limit on the processes and threads of one daemon: a pids cgroup of its own, which binds root too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_ROOTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


@contextmanager
def pids_cgroup(pid: int) -> Iterator[Path]:
    """The pids.max of a cgroup that holds that process; skips where there is none to be had."""
    group = None
    for root in _ROOTS:
        made = root / f"haikud-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            made.mkdir()
            (made / "cgroup.procs").write_text(str(pid), encoding="ascii")
        except OSError:
            with suppress(OSError):
                made.rmdir()
            continue
        if (made / "pids.max").exists():
            group = made
            break
        made.rmdir()
    if group is None:
        pytest.skip("no pids cgroup can be made here")
    try:
        yield group / "pids.max"
    finally:
        for left in (group / "cgroup.procs").read_text(encoding="ascii").split():
            with suppress(OSError):
                (group.parent / "cgroup.procs").write_text(left, encoding="ascii")
        with suppress(OSError):
            group.rmdir()
