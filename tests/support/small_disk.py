"""A small filesystem of its own for a spool, and what fills it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, *, size: str = "4m") -> Iterator[None]:
    """A tmpfs at `path`; skips where mounting is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def make_read_only(path: Path) -> None:
    """Whoever goes there from now on finds it read-only; what is open stays as it is, as after an error of the disk."""
    for words in (["--bind", str(path)], ["-o", "remount,bind,ro"]):
        subprocess.run(["mount", *words, str(path)], check=True, capture_output=True)


def make_writable(path: Path) -> None:
    """The end of `make_read_only`."""
    subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Write a file until there is no room."""
    with path.open("wb", buffering=0) as stream:
        for size in (65_536, 512):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue
