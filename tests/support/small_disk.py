"""A small filesystem of its own that can be filled to the page: a tmpfs. Needs root and mount."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = os.sysconf("SC_PAGE_SIZE")


def why_no_disk() -> str | None:
    """Why no such disk can be made here; None where it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("mount") is None or shutil.which("umount") is None:
        return "mount is not installed"
    with tempfile.TemporaryDirectory(prefix="haikud-probe-") as probe:
        disk = SmallDisk(Path(probe) / "disk")
        try:
            disk.mount()
        except AssertionError as error:
            return str(error)
        disk.close()
    return None


class SmallDisk:
    """A tmpfs of 4 MiB, mounted at `where`."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self._ballast = where / ".ballast"

    def mount(self) -> None:
        """Make and mount it."""
        self.where.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "haikud-test", str(self.where)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"no tmpfs can be mounted here: {done.stderr.strip()}"

    def fill(self, free_pages: int = 0) -> None:
        """Leave so many free pages, and no byte more."""
        with self._ballast.open("wb") as file:
            size = 0
            try:
                while True:
                    size += os.write(file.fileno(), b"\0" * PAGE)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, size - free_pages * PAGE))

    def free(self) -> None:
        """There is room again."""
        self._ballast.unlink(missing_ok=True)

    def free_pages(self) -> int:
        """How many there are now."""
        facts = os.statvfs(self.where)
        return facts.f_bavail * facts.f_frsize // PAGE

    def close(self) -> None:
        """Unmount it, also where something still holds it."""
        for _ in range(100):
            if not self.where.is_mount():
                return
            if subprocess.run(["umount", self.where], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        subprocess.run(["umount", "-l", self.where], capture_output=True, check=False)


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """One at `path`; skips where there is none to be had."""
    reason = why_no_disk()
    if reason is not None:
        pytest.skip(reason)
    disk = SmallDisk(path)
    disk.mount()
    try:
        yield disk
    finally:
        disk.close()


def make_read_only(path: Path) -> None:
    """Whoever goes there from now on finds it read-only; what is open stays as it is, as after an error of the disk."""
    for words in (["--bind", str(path)], ["-o", "remount,bind,ro"]):
        subprocess.run(["mount", *words, str(path)], check=True, capture_output=True)


def make_writable(path: Path) -> None:
    """The end of `make_read_only`."""
    subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)
