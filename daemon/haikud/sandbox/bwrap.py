"""The arguments of bubblewrap for a policy: a new root from nothing, with namespaces of its own.

What this relies on: commands can replace what lies in writable folders, never those folders themselves (inside they
are mount points) nor what they lie in. So no mount is made at, or from, a place whose parents a command could have
replaced by a link; the exception, /tmp and the folder that stands for it, is looked at before each command, while
nothing of the attempt runs.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from haikud.sandbox.view import SYSTEM, View, is_beneath

_PLACES = "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"
_DISABLES_NAMESPACES = (0, 8)
"""The version since which --disable-userns exists."""

_TMP = Path("/tmp")  # noqa: S108 -- inside, it is the command's own


def find_bwrap() -> str | None:
    """Where the program is; the system's before one on PATH."""
    return shutil.which("bwrap", path=_PLACES) or shutil.which("bwrap")


@functools.cache
def bwrap_version(program: str) -> tuple[int, ...]:
    """For example (0, 8, 0); empty where it does not say."""
    with suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", asked.stdout)
        if found:
            return tuple(int(one) for one in found.groups(default="0"))
    return ()


def bwrap_options(program: str, view: View, *, cwd: Path, own_network: bool, launcher: tuple[Path, Path]) -> list[str]:
    """All but the command and descriptors. Makes mount points in the folder that stands for /tmp.

    `launcher`: a file of ours, and where it is to stand inside; not later, since the root is read-only then.
    """
    options = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if own_network:
        options.append("--unshare-net")
    if bwrap_version(program) >= _DISABLES_NAMESPACES and not _is_setuid(program) and not _is_read_only("/proc/sys"):
        options.append("--disable-userns")
    options += ["--new-session", "--cap-drop", "ALL"]
    options += _system()
    options += ["--proc", "/proc", "--dev", "/dev", "--symlink", "../tmp", "/var/tmp", "--dir", "/run"]  # noqa: S108
    options += ["--ro-bind", *map(str, launcher)]
    if os.geteuid() == 0:
        options += _roots_own_in_proc()
    places = _places(view)
    read_only = ["/"]
    options += _temporary(view, [place for _, place, _ in places], read_only)
    for how, place, source in places:
        options += [how, *([source] if source else []), str(place)]
        if how == "--tmpfs":
            read_only.append(str(place))
    for place_of_ours in reversed(read_only):
        options += ["--remount-ro", place_of_ours]
    return [*options, "--chdir", str(cwd)]


def _roots_own_in_proc() -> Iterator[str]:
    """The machine's tunables belong to root, who may write them whatever its capabilities and namespaces are.

    core_pattern names a program that the kernel starts outside. (bubblewrap itself makes these read-only only where
    their folders could be written, which they cannot.)
    """
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "asound", "mtrr"):
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")


def _is_read_only(place: str) -> bool:
    """Whether it is mounted so, as /proc/sys is in containers: bubblewrap cannot forbid namespaces by it there.

    The filter of system calls forbids them all the same.
    """
    with suppress(OSError):
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    return False


def _is_setuid(program: str) -> bool:
    return bool(Path(program).stat().st_mode & stat.S_ISUID)


def _system() -> Iterator[str]:
    for name in SYSTEM:
        place = Path(name)
        if place.is_symlink() and place.parent == Path("/"):
            yield from ("--symlink", str(place.readlink()), name)
        else:
            yield from ("--ro-bind-try", name, name)


def _places(view: View) -> list[tuple[str, Path, str]]:
    """What to mount: an option, where, and its source or "". Outer before inner."""
    found: list[tuple[int, int, str, Path, str]] = []
    for one in view.hidden:
        if is_beneath(one, view.writable):
            continue  # its parents could have been replaced
        if one.is_dir():
            found.append((len(one.parts), 0, "--tmpfs", one, ""))
        else:
            found.append((len(one.parts), 0, "--ro-bind", one, os.devnull))
    found += [(len(one.parts), 1, "--ro-bind", one, str(one)) for one in view.readable]
    found += [(len(one.parts), 2, "--bind", one, str(one)) for one in view.writable]
    return [(how, place, source) for _, _, how, place, source in sorted(found)]


def _temporary(view: View, places: Iterable[Path], read_only: list[str]) -> Iterator[str]:
    """A /tmp of its own, that other places may lie in: their way there is ours and not in the command's folder."""
    beneath = [one for one in places if one.is_relative_to(_TMP)]
    if _TMP in beneath:
        return  # the settings open the real one
    if view.temporary is None:
        yield from ("--tmpfs", "/tmp")  # noqa: S108
        return
    _ensure_folder(view.temporary)
    yield from ("--bind", str(view.temporary), "/tmp")  # noqa: S108
    for name in sorted({one.parts[2] for one in beneath}):
        top = _TMP / name
        if top not in beneath:
            _ensure_folder(view.temporary / name)
            read_only.append(str(top))
            yield from ("--tmpfs", str(top))
        elif top.is_dir():
            _ensure_folder(view.temporary / name)
        else:
            _remove(view.temporary / name)
            (view.temporary / name).touch()


def _ensure_folder(place: Path) -> None:
    """A real folder there, whatever a command put in its place."""
    if place.is_symlink() or not place.is_dir():
        _remove(place)
        place.mkdir(mode=0o700)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
