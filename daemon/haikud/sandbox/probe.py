"""Which walls this machine can put up, found out by putting them up: nobody is told that they hold who did not try.

Each mode runs one real command, by the same code as an attempt's: it must read a file that it may read, and must not
read one that it may not. A mode that fails says why, and what would mend it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.bwrap import find_bwrap
from haikud.sandbox.commands import CannotStart
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.policy import Policy
from haikud.sandbox.trees import TreeStillAlive
from haikud.sandbox.view import named_place

_SECONDS = 60.0
_ALLOWED, _FORBIDDEN = "may-be-read", "must-not-be-read"
_FOLDER_END = "/of-the-command"
_SCRIPT = 'cat "$1"; cat "$2"; exit 0'

_PROFILE = """abi <abi/4.0>,
include <tunables/global>
profile bwrap {program} flags=(unconfined) {{
  userns,
  include if exists <local/bwrap>
}}
"""


@dataclass(frozen=True)
class Probed:
    """What was found. `mode` is what to put into policies; None: nothing of what is wanted works here."""

    mode: str | None
    reasons: tuple[str, ...] = ()  # `MODE: why it does not work here`, for each that was tried in vain
    cures: tuple[str, ...] = ()  # what to do about them, in the same order; a mode may have several, or none


def probe(wanted: str, settings: SandboxSettings | None = None) -> Probed:
    """Try what the settings want: auto means bwrap, else landlock. Takes a tenth of a second; raises nothing.

    `none` is what somebody chose, and always works.
    """
    if wanted == "none":
        return Probed("none")
    reasons: list[str] = []
    cures: list[str] = []
    for mode in ("bwrap", "landlock") if wanted == "auto" else (wanted,):
        why = why_not(mode, settings)
        if why is None:
            return Probed(mode, tuple(reasons), tuple(cures))
        reasons.append(f"{mode}: {why}")
        cures += _cures_of_bwrap(why) if mode == "bwrap" else _cures_of_landlock()
    other = {"bwrap": "landlock", "landlock": "bwrap"}.get(wanted)
    if other is not None and why_not(other, settings) is None:  # nearer at hand than doing without walls
        cures.append(f"or `sandbox: {{mode: auto}}`, which would be {other} here")
    return Probed(None, tuple(reasons), tuple(cures))


def why_not(mode: str, settings: SandboxSettings | None = None) -> str | None:
    """Why that mode does not hold here; None where it does."""
    if mode == "bwrap" and find_bwrap() is None:
        return "bubblewrap (bwrap) is not installed"
    if mode == "landlock" and landlock_abi() < 1:
        return _why_no_landlock()
    try:
        with tempfile.TemporaryDirectory(prefix="haikud-probe-") as folder:
            return _try(mode, Path(folder), settings or SandboxSettings.model_validate({}))
    except (OSError, CannotStart, TreeStillAlive, ValueError) as error:
        return " ".join(str(error).split()).partition(f"{_FOLDER_END}: ")[2] or " ".join(str(error).split())


def _try(mode: str, folder: Path, settings: SandboxSettings) -> str | None:
    allowed = Path(f"{folder}{_FOLDER_END}")
    allowed.mkdir()
    (allowed / _ALLOWED).write_text(f"{_ALLOWED}\n", encoding="ascii")
    (folder / _FORBIDDEN).write_text(f"{_FORBIDDEN}\n", encoding="ascii")
    said: list[bytes] = []
    sandbox = Sandbox(Policy(mode=mode, writable=(allowed,), settings=_but_for(folder, settings)))
    ended = sandbox.run(
        ["/bin/sh", "-c", _SCRIPT, "sh", str(allowed / _ALLOWED), str(folder / _FORBIDDEN)],
        cwd=allowed,
        env={"PATH": os.defpath},
        timeout=_SECONDS,
        grace=0.0,
        on_output=said.append,
    )
    lines = b"".join(said).decode(errors="replace").splitlines()
    if _FORBIDDEN in lines:
        return "a command read what it must not"
    if ended.exit_code == 0 and _ALLOWED in lines:
        return None
    return f"a command could not run: {' '.join(lines)[:500] or ended}"


def _but_for(folder: Path, settings: SandboxSettings) -> SandboxSettings:
    """Without what would open the folder of the try itself, such as /tmp: that the settings do so is no fault."""
    home, real = Path("~").expanduser(), Path(os.path.realpath(folder))
    places = {
        name: [one for one in listed if not real.is_relative_to(os.path.realpath(named_place(one, home)))]
        for name, listed in (("readable", settings.readable), ("writable", settings.writable))
    }
    return settings.model_copy(update=places)


def _why_no_landlock() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    number = ctypes.get_errno()
    if number == errno.ENOSYS:
        return "this kernel has no Landlock (Linux 5.13 and later can have it)"
    if number == errno.EOPNOTSUPP:
        return "Landlock is switched off on this machine"
    return f"Landlock is refused: {os.strerror(number)}"


def _cures_of_landlock() -> Iterator[str]:
    yield "Landlock: a kernel of 5.13 or later, with landlock in its list of security modules (boot option lsm=)"


def _cures_of_bwrap(why: str) -> Iterator[str]:
    """What this machine's own settings say about the cause. Several may be in the way."""
    program = find_bwrap()
    if program is None:
        yield "install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap)"
        return
    if _number("/proc/sys/user/max_user_namespaces") == 0:
        yield "allow user namespaces: sysctl -w user.max_user_namespaces=15000 (and in /etc/sysctl.d to keep it)"
    if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        yield "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d to keep it)"
    if _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        profile = " ".join(apparmor_profile(program).split("\n")).strip()
        yield (
            "give bubblewrap an AppArmor profile that allows user namespaces (Ubuntu 24.04 and later): write "
            f"/etc/apparmor.d/bwrap with `{profile}` (a new line before each part), then "
            "apparmor_parser -r /etc/apparmor.d/bwrap; or install the package apparmor-profiles, if it has one"
        )
    if "proc" in why and "mount" in why.lower():
        yield "in a container, start it with --security-opt systempaths=unconfined, so that /proc can be mounted"
    if _is_filtered():
        yield (
            "a seccomp filter is around this process (Docker's default refuses user namespaces): start the container "
            "with a profile that allows clone, unshare, mount and pivot_root, or the unit without RestrictNamespaces"
        )


def apparmor_profile(program: str) -> str:
    """The text of the profile by which AppArmor lets bubblewrap make user namespaces."""
    return _PROFILE.format(program=program)


def _number(place: str) -> int | None:
    with suppress(OSError, ValueError):
        return int(Path(place).read_text(encoding="ascii"))
    return None


def _is_filtered() -> bool:
    with suppress(OSError):
        return "\nSeccomp:\t2" in Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return False
