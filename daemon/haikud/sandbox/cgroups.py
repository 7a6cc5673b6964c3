"""A cgroup of its own for every attempt, where the daemon runs in a cgroup v2 that it may write.

What a process inherits and cannot shake off without our rights: whoever clears its environment, forks twice and leaves
its session is still listed there. The launcher makes the cgroup below the daemon's, the runner enters it before it
starts anything, `kill` ends all in one stroke, and `is_populated` is the proof.

Best effort: where there is none, everything here says so with None, False or an empty list, and the tree is found by
other means (trees.py). Never touched: a cgroup without our name, or one outside the cgroup v2 filesystem; never killed:
one that we are in ourselves.

Only the standard library is imported here: a runner uses this room before it imports anything else.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_PREFIX = "haikud-"
_ID_CHARACTERS = 12
_SPARE = ".spare-"  # no ref begins so


def cgroup_name(spool_id: str, attempt: str) -> str:
    """What the cgroup of an attempt (`REF.N`) of a spool is called."""
    return f"{_prefix(spool_id)}{attempt}"


def spare_cgroup_name(spool_id: str, series: str, number: int) -> str:
    """What the cgroup of a runner is called that was forked ahead of need: of which attempt, is not known then.

    `series`: of this daemon's life alone, and so not its pid, which is always the same where it begins a container: a
    note that outlived a power cut would name the cgroup of somebody else's runner.
    """
    return f"{_prefix(spool_id)}{_SPARE}{series}-{number}"


def _prefix(spool_id: str) -> str:
    return f"{_PREFIX}{spool_id.replace('-', '')[:_ID_CHARACTERS]}-"


def own_cgroup() -> Path | None:
    """The folder of the cgroup v2 that we are in; None where there is none that we can see."""
    mounted = _mount()
    return None if mounted is None else _own_below(*mounted)


def _own_below(top: str, point: Path) -> Path | None:
    try:
        lines = _read("/proc/self/cgroup").splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    if path is None or not f"{path}/".startswith(f"{top.rstrip('/')}/"):
        return None  # we are outside what is mounted here
    folder = os.path.join(point, path[len(top) :].lstrip("/"))  # noqa: PTH118 - for every attempt, as below
    return Path(folder) if os.path.isdir(folder) else None  # noqa: PTH112


def make_cgroup(name: str) -> Path | None:
    """An empty cgroup of that name below ours; None where we may not make one. FileExistsError where one is in use."""
    home = own_cgroup()
    if home is None or not os.access(home / "cgroup.procs", os.W_OK):
        return None
    folder = home / name
    try:
        folder.mkdir()
    except FileExistsError:
        if is_populated(folder):
            raise
    except OSError:
        return None
    if not (folder / "cgroup.kill").exists():  # before Linux 5.14
        remove_cgroup(folder)
        return None
    return folder


def enter_cgroup(folder: Path) -> bool:
    """Move ourselves there, and with us whatever we start from now on; whether we are there.

    It takes milliseconds in which nobody forks (the kernel waits for a grace period), unless we are there already.
    """
    if own_cgroup() == folder:
        return True
    try:
        (folder / "cgroup.procs").write_bytes(b"0")
    except OSError:
        return False
    return True


def leave_cgroup(folder: Path) -> None:
    """Move ourselves to the one above, if we are there, and remove it where nobody else is in it."""
    if own_cgroup() != folder:
        return
    with suppress(OSError):
        (folder.parent / "cgroup.procs").write_bytes(b"0")
        folder.rmdir()


def find_cgroups(name: str, *recorded: str | None) -> list[Path]:
    """The cgroups of that name: below ours, and where its runner has noted one, which may be another daemon's place.

    One that was a spare's is known by such a note alone.
    """
    mounted = _mount()
    if mounted is None:
        return []
    home = _own_below(*mounted)
    places = [] if home is None else [home / name]
    places += [Path(noted) for noted in recorded if noted and "\0" not in noted]
    spare = name[: len(_prefix("0" * _ID_CHARACTERS))] + _SPARE
    return [
        place
        for place in dict.fromkeys(places)
        if (place.name == name or place.name.startswith(spare)) and _is_cgroup(place, mounted[1])
    ]


def processes_in(folder: Path) -> set[int]:
    """The pids of all processes there and below."""
    pids: set[int] = set()
    for place, _, _ in os.walk(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            pids.update(int(pid) for pid in (Path(place) / "cgroup.procs").read_text(encoding="ascii").split())
    return pids - {0}  # of another PID namespace: not to be named, but killed all the same


def kill_cgroup(folder: Path) -> bool:
    """KILL everyone there and below at once; False where that is not possible, as where we are among them."""
    mine = own_cgroup()
    if mine is None or mine.is_relative_to(folder):
        return False
    try:
        (folder / "cgroup.kill").write_text("1", encoding="ascii")
    except OSError:
        return False
    return True


def is_populated(folder: Path) -> bool:
    """Whether anyone lives there or below. Raises OSError where that cannot be told."""
    try:
        events = _read(f"{folder}/cgroup.events").split()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return dict(zip(events[::2], events[1::2], strict=False)).get("populated") != "0"


def remove_spare_cgroups(spool_id: str) -> None:
    """Remove those below ours that nobody is in: an earlier daemon's, and of spares that had no order."""
    home = own_cgroup()
    if home is None:
        return
    with suppress(OSError):
        for folder in home.glob(f"{_prefix(spool_id)}{_SPARE}*"):
            with suppress(OSError):
                folder.rmdir()


def remove_cgroup(folder: Path) -> None:
    """Remove an empty cgroup and what was made below it; one that is not empty stays."""
    with suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106
        return
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(place).rmdir()


def _read(path: str) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123
        return stream.read().decode("utf-8", "surrogateescape")


@cache
def _mount() -> tuple[str, Path] | None:
    """The cgroup v2 filesystem: which part of the hierarchy is mounted, and where. Looked for once in a process."""
    try:
        table = _read("/proc/self/mountinfo")
    except OSError:
        return None
    if " - cgroup2 " not in table:
        return None
    for line in table.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ", 1)[0] == "cgroup2":
            top, point = fields.split()[3:5]
            return top, Path(point)
    return None


def _is_cgroup(folder: Path, point: Path) -> bool:
    """Whether that is a folder below the mount, by its real path."""
    if not os.path.isdir(folder):  # noqa: PTH112 - nearly always
        return False
    try:
        real = os.path.realpath(folder, strict=True)
        return real == str(folder) and real.startswith(f"{point}/") and os.path.exists(f"{real}/cgroup.procs")  # noqa: PTH110
    except (OSError, RuntimeError):
        return False
