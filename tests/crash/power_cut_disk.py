"""A disk whose power can be cut: a filesystem on a loop device, its backing file in memory.

A cut is a copy of the backing file: what the filesystem had submitted to its disk by then, and nothing else. Nothing
is synced for it. The copy is made while no write is under way (the device's own counter of written sectors is the same
before and after), so that it is one moment and not a smear over several. What a real power cut can do beyond that (a
drive that loses its own cache, torn sectors) is not shown here: the damage found is a lower bound.

Needs root, a free loop device and the filesystem's mkfs; `why_not` says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
MOUNT_OPTIONS = {"ext4": "loop", "xfs": "loop,nouuid", "btrfs": "loop"}
BYTES = 400 << 20  # mkfs.xfs wants 300 MiB; the file is sparse
MEMORY = Path("/dev/shm")


def run(*argv: str | Path) -> str:
    """Run a tool of the system; its output. AssertionError with what it said where it fails."""
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stderr.strip()}"
    return done.stdout.strip()


def why_not(filesystem: str) -> str | None:
    """Why no such disk can be made here; None where it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in (MAKE[filesystem][0], "mount", "umount", "losetup") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not MEMORY.is_dir():
        return f"there is no {MEMORY}"
    try:
        with tempfile.TemporaryDirectory(prefix="haikud-probe-", dir=MEMORY) as probe:
            disk = Disk(Path(probe), filesystem)
            disk.make()
            disk.close()
    except AssertionError as error:
        return f"no loop mount of {filesystem} here: {error}"
    return None


class Disk:
    """One mounted filesystem; `where` is where it is mounted, which stays the same over cuts."""

    def __init__(self, folder: Path, filesystem: str) -> None:
        self.filesystem = filesystem
        self.where = folder / "disk"
        self._folder = folder
        self._image = folder / "image"
        self._device = ""

    def make(self) -> None:
        """A fresh filesystem, mounted."""
        with self._image.open("wb") as file:
            file.truncate(BYTES)
        run(*MAKE[self.filesystem], self._image)
        self._mount()

    def _mount(self) -> None:
        self.where.mkdir(exist_ok=True)
        run("mount", "-o", MOUNT_OPTIONS[self.filesystem], self._image, self.where)
        self._device = run("findmnt", "-no", "SOURCE", "--mountpoint", self.where)

    def sync(self) -> None:
        """All that was written so far is old, and safely on the disk."""
        run("sync", "-f", self.where)

    def copy(self, to: Path) -> None:
        """What is on the disk at this moment. Whoever writes a lot should be stopped meanwhile."""
        give_up_at = time.monotonic() + 30
        while True:
            before = self._written()
            run("cp", "--sparse=always", self._image, to)
            if before is not None and before == self._written():
                return
            assert time.monotonic() < give_up_at, f"{self._device} is never quiet"

    def _written(self) -> str | None:
        """The sectors written so far; None while a write is under way."""
        counters = Path(f"/sys/block/{Path(self._device).name}/stat").read_text(encoding="ascii").split()
        return counters[6] if counters[8] == "0" else None

    def put_in(self, copy: Path) -> None:
        """Go on with a copy, in the same place; the filesystem recovers from its journal as after a power cut."""
        self._unmount()
        copy.replace(self._image)
        self._mount()

    def _unmount(self) -> None:
        give_up_at = time.monotonic() + 20
        while self._device:
            done = subprocess.run(["umount", self.where], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            if time.monotonic() >= give_up_at:
                subprocess.run(["umount", "-l", self.where], check=False, capture_output=True)
                break
            time.sleep(0.05)
        self._detach()
        self._device = ""

    def _detach(self) -> None:
        """The device that `mount -o loop` made goes with the mount; where it is late, it is told to."""
        if not self._device or not self._image.exists():
            return
        for device in run("losetup", "-nO", "NAME", "-j", self._image).split():
            subprocess.run(["losetup", "-d", device], check=False, capture_output=True)

    def close(self) -> None:
        """Unmount, detach and remove it all, also what a failure left."""
        self._unmount()
        self._image.unlink(missing_ok=True)
