"""What an isolated command may see, write and reach. Data only: the modes build their walls from it.

Everything that is not named here and is not the system's (programs, libraries, certificates) is out of sight or at
least out of reach: the spool, the home folder, other worktrees, the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.settings import SandboxSettings


@dataclass(frozen=True)
class Policy:
    """For all commands of one attempt, or of one merge's tests. Paths are absolute."""

    mode: str = "none"  # bwrap, landlock or none
    writable: tuple[Path, ...] = ()  # folders and files: the worktree, out/, the private git folder, caches
    readable: tuple[Path, ...] = ()  # beyond the system's: the repository's objects, the assignment, tools in a home
    hidden: tuple[Path, ...] = ()  # out of sight even where a readable folder holds it: the spool, a key's file
    private: tuple[Path, ...] = ()  # out of sight where nothing but the system's places would show it: the repository
    temporary: Path | None = None  # a folder that stands for /tmp where the mode can do that; in one of the writable
    ports: tuple[int, ...] = ()  # on loopback that stay reachable: the gateway's
    settings: SandboxSettings = field(default_factory=lambda: SandboxSettings.model_validate({}))
