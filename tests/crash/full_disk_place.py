"""A small disk that can be filled to the page: a tmpfs, with a ballast file on it. Needs root and mount."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def why_not() -> str | None:
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
    """A tmpfs of a few MiB, mounted at `where`."""

    def __init__(self, where: Path, mebibytes: int = 4) -> None:
        self.where = where
        self._mebibytes = mebibytes
        self._ballast = where / ".ballast"

    def mount(self) -> None:
        """Make and mount it."""
        self.where.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._mebibytes}m", "haikud-test", self.where],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"no tmpfs can be mounted here: {done.stderr.strip()}"

    def fill(self, free_pages: int) -> None:
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
