"""What must work inside the walls, so that nobody takes a wall that holds everything back for a good one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hostile.inside.network import get, tunnel
from tests.hostile.inside.registry import FRIENDLY, Place, Row

allowed = Row("what must work", FRIENDLY)


@allowed()
def write_the_worktree(place: Place) -> bool:
    (place.worktree / "calc.py").open("a").close()
    (place.worktree / "folder").mkdir()
    (place.worktree / "folder/new.txt").write_text("new")
    (place.worktree / "folder").rename(place.worktree / "renamed")
    os.link(place.worktree / "renamed/new.txt", place.worktree / "renamed/linked.txt")
    return (place.worktree / "renamed/linked.txt").read_text() == "new"


@allowed()
def write_out(place: Place) -> bool:
    (place.out / ".result.json").write_text("{}")
    (place.out / ".result.json").rename(place.out / "result.json")
    return True


@allowed()
def use_temporary_folders(_place: Place) -> bool:
    with TemporaryDirectory() as folder, TemporaryDirectory(dir=Path.home()) as other:
        return len(Path(folder, "file").read_bytes() if Path(folder, "file").exists() else other) > 0


@allowed()
def commit(place: Place) -> bool:
    for command in (["add", "renamed"], ["commit", "-q", "-m", "new"], ["status", "--short"], ["branch", "mine"]):
        subprocess.run(["git", *command], cwd=place.worktree, check=True, capture_output=True)
    return True


@allowed(reaches="listed")
def tunnel_to_a_listed_host(place: Place) -> None:
    tunnel("tunnel_to_a_listed_host", f"127.0.0.1:{place.ports['listed']}")


@allowed(reaches="listed")
def get_from_a_listed_host(place: Place) -> None:
    get("get_from_a_listed_host", f"http://127.0.0.1:{place.ports['listed']}", f"127.0.0.1:{place.ports['listed']}")


@allowed()
def start_processes_and_signal_them(_place: Place) -> bool:
    process = subprocess.Popen(["sleep", "600"])
    process.terminate()
    return process.wait() == -15


@allowed()
def use_devices(_place: Place) -> bool:
    with Path("/dev/null").open("wb") as null, Path("/dev/urandom").open("rb") as random:
        null.write(random.read(8))
    return True


@allowed()
def inherit_no_descriptor(_place: Place) -> bool:
    """What the walls were put up with stays outside; the one beside these three is the look itself."""
    return len(os.listdir("/proc/self/fd")) == 4  # noqa: PTH208 -- names only
