"""What of the machine's files commands get to see, for a policy: the same for every mode that can hold it.

The system's places are programs, libraries and settings that every user may read. What not everybody may read there
(keys, password hashes) is left out, whoever we are: the daemon may run as root, or in a group that reads more. So are
our home folder and the repository, where they lie in such a place (a service's home is often in /opt).
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from haikud.sandbox.policy import Policy
from haikud.sandbox.tool_homes import tool_homes

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc"),
    *("/nix/store", "/nix/var/nix/profiles", "/gnu/store"),  # and not the socket of Nix's daemon, which has a network
    *("/run/current-system", "/var/lib/ca-certificates", "/sys/devices/system"),
)
"""Readable in every mode, where they exist."""

_SECRET_NAMES = frozenset({"shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d", "haikud"})
"""In /etc, out of sight whatever their permissions say."""

_EVERYBODY_READS, _EVERYBODY_ENTERS = stat.S_IROTH, stat.S_IROTH | stat.S_IXOTH


@dataclass(frozen=True)
class View:
    """Absolute paths that exist."""

    writable: tuple[Path, ...]  # none beneath another
    readable: tuple[Path, ...]  # beyond SYSTEM; none beneath a writable one
    hidden: tuple[Path, ...]  # beneath one of the former, or of SYSTEM
    temporary: Path | None


def view_of(policy: Policy, path: str) -> View:
    """What commands with that PATH see. Looks at the disk.

    Raises ValueError where a writable folder holds what is to be hidden: a command could move it out of hiding.
    """
    home = Path("~").expanduser()
    listed = policy.settings
    wanted = [*policy.writable, *(named_place(one, home) for one in listed.writable)]
    writable = _outermost(_existing(_not_within(wanted, wanted)))
    path = os.pathsep.join(map(str, _not_within(map(Path, path.split(os.pathsep)), wanted)))
    named = [
        *policy.readable,
        *(named_place(one, home) for one in listed.readable),
        *tool_homes(path, home),
        *_python(home),
    ]
    system = [Path(one) for one in SYSTEM]
    ours = [one for one in _existing([home, *policy.private]) if is_beneath(one, system) and one not in system]
    secrets = (*_secrets_of_etc(), *(one for one in ours if not is_beneath(one, [*writable, *_existing(named)])))
    readable = [
        one
        for one in _existing(_not_within(named, wanted))
        # What is named beneath a secret folder is opened all the same, such as a role's command in /etc/haikud/roles.
        if not is_beneath(one, writable) and (not is_beneath(one, system) or is_beneath(one, secrets))
    ]
    hidden = _existing(policy.hidden)
    for one in hidden:
        if is_beneath(one, writable):
            raise ValueError(f"{one} must stay hidden, and lies in a folder that the settings make writable")
    seen = [*writable, *readable, *system]
    return View(
        tuple(writable),
        tuple(_outermost_but(readable, hidden)),
        tuple(one for one in (*hidden, *secrets) if is_beneath(one, seen) and one.exists()),
        policy.temporary,
    )


def is_beneath(path: Path, places: Iterable[Path]) -> bool:
    """Whether it is one of the places, or lies in one."""
    return any(path.is_relative_to(place) for place in places)


def without(place: Path, hidden: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Paths that together are all of `place` but what is hidden; and the folders that were taken apart for that."""
    inside = [one for one in hidden if one.is_relative_to(place)]
    if not inside:
        return [place], []
    if place in inside:
        return [], []
    parts: list[Path] = []
    opened = [place]
    try:
        children = sorted(place.iterdir())
    except OSError:
        return [], []
    for child in children:
        if child.is_symlink():
            continue  # leads somewhere else, and whether that is reachable is decided there
        more, deeper = without(child, inside)
        parts += more
        opened += deeper
    return parts, opened


def named_place(text: str, home: Path) -> Path:
    """The place that the settings name so."""
    return Path(os.path.normpath(home / Path(text).expanduser()))


def _existing(paths: Iterable[Path]) -> list[Path]:
    """Each as it is named, and where its real place is another, there too: programs meet both names."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.exists():
            found[path] = None
            found[Path(os.path.realpath(path))] = None
    return list(found)


def _not_within(paths: Iterable[Path], writable: Iterable[Path]) -> Iterator[Path]:
    """Those that lie in none of the writable folders. What does may be a link by now, to whatever a command likes.

    It is open with the folder that it lies in, so nothing is lost.
    """
    folders = {name for one in writable for name in (one, _location(one))}
    for path in paths:
        location = _location(path)
        if not any(folder in path.parents or folder in location.parents for folder in folders):
            yield path


def _location(path: Path) -> Path:
    """Where the name stands, whatever it is a link to."""
    return Path(os.path.realpath(path.parent)) / path.name


def _outermost(paths: list[Path]) -> list[Path]:
    return [one for one in paths if not is_beneath(one, [other for other in paths if other != one])]


def _outermost_but(paths: list[Path], hidden: Iterable[Path]) -> Iterator[Path]:
    """Those that no other holds; and those that another holds, but with something hidden between the two."""
    covers = list(hidden)
    for one in paths:
        holders = [other for other in paths if other != one and one.is_relative_to(other)]
        if all(any(one.is_relative_to(cover) and cover.is_relative_to(other) for cover in covers) for other in holders):
            yield one


@functools.cache
def _secrets_of_etc() -> tuple[Path, ...]:
    return tuple(_not_for_everybody(Path("/etc")))


def _not_for_everybody(folder: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        wanted = _EVERYBODY_ENTERS if stat.S_ISDIR(mode) else _EVERYBODY_READS
        if mode & wanted != wanted or (entry.name in _SECRET_NAMES and folder == Path("/etc")):
            yield Path(entry.path)
        elif stat.S_ISDIR(mode):
            yield from _not_for_everybody(Path(entry.path))


def python() -> str:
    """Our own Python, by its real place: what a virtual environment's link leads to."""
    return os.path.realpath(sys.executable)


def _python(home: Path) -> Iterator[Path]:
    """What the launcher needs; and what commands that are Python programs of ours do. Never a home folder's all."""
    for prefix in (Path(sys.base_prefix), Path(sys.prefix)):
        if home.is_relative_to(prefix) or prefix == home / ".local":
            yield from (prefix / "bin", prefix / "lib")
        else:
            yield prefix
