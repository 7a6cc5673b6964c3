"""Inotify's limits hold for the whole machine: who lowers one and who needs one take turns, across test processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def inotify_in_use(*, alone: bool = False) -> Iterator[None]:
    """While this lasts nobody else lowers its limits; with `alone` nobody else relies on them."""
    path = Path(tempfile.gettempdir()) / f"haikud-tests-inotify-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
