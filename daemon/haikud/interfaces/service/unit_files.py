"""The unit files that come with the package: which there are, where each belongs, and what it says once placed.

What is placed begins with a line that names us and the SHA-256 of the rest, so that a file which somebody has changed
since, or which never was ours, can be told from one that may be replaced or removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

_SHIPPED = "/usr/bin/env haikud"
_SPOOL = re.compile(r"(?<= --spool )\S+")
_MARK = "# Placed by `haikud install-service`; SHA-256 of what follows: "


@dataclass(frozen=True)
class UnitFile:
    """A file to be placed."""

    path: Path
    text: str


class Standing(StrEnum):
    """How a place is that a file is to have."""

    FREE = "free"
    OURS = "ours"  # and as we have placed it
    CHANGED = "changed"  # by hand, since
    FOREIGN = "foreign"  # never ours


def system_files(command: Sequence[str], etc: Path = Path("/etc")) -> list[UnitFile]:
    """What the system service needs."""
    unit = _with_command(_read("system/haikud.service"), command)
    return [
        UnitFile(etc / "sysusers.d/haikud.conf", _marked(_read("sysusers.d/haikud.conf"))),
        UnitFile(etc / "tmpfiles.d/haikud.conf", _marked(_read("tmpfiles.d/haikud.conf"))),
        UnitFile(etc / "systemd/system/haikud.service", _marked(unit)),
    ]


def user_files(command: Sequence[str], config: Path, spool: Path | None) -> list[UnitFile]:
    """What a user service needs; `config` is the user's config folder."""
    text = _with_command(_read("haikud.service"), command)
    if spool is not None:
        text = _SPOOL.sub(lambda _: _quoted(str(spool)), text)
    return [UnitFile(config / "systemd/user/haikud.service", _marked(text))]


def standing(path: Path) -> Standing:
    """Whose file is there. Raises OSError where that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Standing.FREE
    first, _, rest = text.partition("\n")
    if not first.startswith(_MARK):
        return Standing.FOREIGN
    return Standing.OURS if first.removeprefix(_MARK) == _digest(rest) else Standing.CHANGED


def our_command(argv0: str, environ: Mapping[str, str]) -> list[str]:
    """How the haikud that was called is called again, from anywhere. Links are kept: upgrades change what they name."""
    found = shutil.which(argv0, path=environ.get("PATH")) if Path(argv0).name == "haikud" else None
    beside = Path(sys.executable).parent / "haikud"
    if found is None and os.access(beside, os.X_OK):
        found = str(beside)
    return [str(Path(found).absolute())] if found else [sys.executable, "-m", "haikud.interfaces"]


def _read(name: str) -> str:
    return (files("haikud.interfaces.service") / "units" / name).read_text(encoding="utf-8")


def _with_command(text: str, command: Sequence[str]) -> str:
    return text.replace(f"ExecStart={_SHIPPED} ", f"ExecStart={' '.join(map(_quoted, command))} ")


def _quoted(word: str) -> str:
    """As systemd.service(5) reads it back: no specifier, no variable, one word."""
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _marked(text: str) -> str:
    return f"{_MARK}{_digest(text)}\n{text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
