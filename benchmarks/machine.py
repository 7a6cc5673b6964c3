"""The kind of machine that figures are of: what matters for speed, and nothing that names it."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

FSYNCS = 50


def describe() -> dict[str, Any]:
    """Cores, memory, kernel, filesystem, fsync, load, and the versions of what is compared."""
    place = Path(tempfile.gettempdir())
    one, five, _ = os.getloadavg()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        "filesystem": filesystem(place),
        "fsync_ms": round(fsync_milliseconds(place), 2),
        "load": [round(one, 1), round(five, 1)],
        "python": platform.python_version(),
        "git": said("git", "--version").removeprefix("git version "),
        "task-spooler": said("dpkg-query", "-W", "-f", "${Version}", "task-spooler"),
        "nq": said("dpkg-query", "-W", "-f", "${Version}", "nq"),
        "huey": installed("huey"),
    }


def processor() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return " ".join(line.split(":", 1)[1].split())
    return platform.machine()


def filesystem(place: Path) -> str:
    """Of the folder in which all of it happens."""
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    holding = [(len(mount.parts), kind) for mount, kind in mounts if place.resolve().is_relative_to(mount)]
    return max(holding, default=(0, "unknown"))[1]


def fsync_milliseconds(place: Path) -> float:
    """The median of write, fsync, rename, fsync of the folder: what one durable file costs here."""
    taken = []
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = os.open(name, os.O_RDONLY)
        for number in range(FSYNCS):
            began = time.perf_counter()
            hidden = Path(name) / f".{number}"
            with hidden.open("wb") as file:
                file.write(b"x" * 500)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(Path(name) / str(number))
            os.fsync(folder)
            taken.append(time.perf_counter() - began)
        os.close(folder)
    return statistics.median(taken) * 1000


def said(*command: str) -> str:
    """What a program says of itself; "" where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def installed(package: str) -> str:
    """A Python package's version; "" where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
