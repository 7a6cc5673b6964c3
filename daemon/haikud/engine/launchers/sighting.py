"""Looking for the runner of an attempt that an earlier daemon started: whether it is there, and which process it is.

Two signs name it: runner.json, and its own command line, which an agent can neither change nor take away. The claim
says that there is one, where it has not named itself yet. Only where all three agree is a runner gone; what the
machine refuses to answer (no descriptor, no access) is "unknown", and looked at again later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from haikud.sandbox.process_table import Seen, command_line, look_at, look_at_all
from haikud.spool.claims import (
    Identity,
    Life,
    boot_id,
    look_at_claim,
    names_attempt,
    read_runner_identity,
    watch_identity,
)


@dataclass(frozen=True)
class Sighting:
    """What was seen of a runner. ALIVE without a pid: its claim is held, and it has not named itself (yet)."""

    life: Life
    pid: int | None = None
    pidfd: int | None = None  # the finder's to close


def look_for_runner(folder: Path) -> Sighting:
    """The runner of the attempt in that folder. Takes its claim for a moment, so it is for the daemon only."""
    try:
        return _look(folder)
    except OSError:
        return Sighting(Life.UNKNOWN)


def _look(folder: Path) -> Sighting:
    """The same; raises OSError where the machine refuses to look."""
    unsure = False
    identity = read_runner_identity(folder / "runner.json")
    if identity is not None:
        life, pidfd = watch_identity(identity)
        if pidfd is not None:
            if _is_runner(identity.pid, folder):
                return Sighting(life, identity.pid, pidfd)
            os.close(pidfd)  # a stranger whom somebody has named there
        unsure = life is Life.UNKNOWN
    claim = look_at_claim(folder / "claim")  # before the search: who holds it then is found, or dead by now
    found = _search(folder)
    if found is not None:
        return found
    if claim is Life.GONE and not unsure:
        return Sighting(Life.GONE)
    return Sighting(Life.ALIVE if claim is Life.ALIVE and not unsure else Life.UNKNOWN)


def is_runner(seen: Seen, folder: Path, line: bytes | None = None) -> bool:
    """Whether that process is a runner of the attempt in that folder: a session leader whose command line says so."""
    return seen.pid == seen.session and names_attempt(command_line(seen.pid) if line is None else line, folder)


def _is_runner(pid: int, folder: Path) -> bool:
    try:
        seen = look_at(pid)
        return seen is not None and is_runner(seen, folder)
    except OSError:
        return False  # the search will be refused too, and say so


def _search(folder: Path) -> Sighting | None:
    """The runner by its command line."""
    for seen in look_at_all().values():
        if seen.alive and is_runner(seen, folder):
            life, pidfd = watch_identity(Identity(seen.pid, seen.started, boot_id()))
            if life is not Life.GONE:
                return Sighting(life, seen.pid if pidfd is not None else None, pidfd)
    return None
