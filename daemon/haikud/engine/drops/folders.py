"""The three drop folders while the daemon runs: when each is scanned, and what its scans bring to whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.live import FaultKind
from haikud.contracts.settings import Settings
from haikud.engine.engine import Engine
from haikud.spool.droppers import group_id
from haikud.spool.drops import DropFolder, OddEntry, Scan, Taken
from haikud.spool.durable import make_folder

MOST_PENDING = 100
"""A folder is not scanned while so many of its files wait for their turn: they stay where they are."""


@dataclass
class WatchedFolder:
    """One drop folder."""

    drops: DropFolder
    pending: deque[Taken | OddEntry]
    in_hand: Callable[[], set[str]]  # tokens of files that were taken, left `pending` and are not finished yet
    scan_at: float = 0.0  # monotonic seconds
    sync: bool = True  # whether a scan makes the taken names durable; else whoever acts on what it brings does
    missed: bool = True  # a scan failed half-way, or recovery left some: what was taken is to be found again

    @property
    def path(self) -> Path:
        """The folder."""
        return self.drops.path

    @property
    def doing(self) -> str:
        """What a scan is called when it fails."""
        return f"taking from {self.path.name}/"

    def look(self) -> None:
        """Scan it in the next round."""
        self.scan_at = 0.0

    async def scan(self, engine: Engine, act: Callable[[Scan], None] | None = None) -> None:
        """Take what is ready. Raises OSError. `act` sees it before anybody else, in the same hop."""
        if len(self.pending) >= MOST_PENDING:
            return
        now, rescan_seconds = engine.clock(), engine.settings.rescan_seconds
        self.scan_at = now + rescan_seconds
        if not self.path.is_dir():
            await engine.write(make_folder, self.path)
        missed, self.missed = self.missed, True
        if missed:
            known = {taken.token for taken in self.pending} | self.in_hand()
            left = await engine.write(self.drops.left_over, known)
            self.pending += left
            if left:  # perhaps there are more, and they were taken earlier than what a scan would bring
                self.scan_at = now
                return
        goes_on = not self.drops.is_through  # a listing in which what was dropped since is missing
        found = await engine.write(self._scan, act)
        self.missed = False
        self.pending += found.brought
        wait_seconds = 0.0 if goes_on else found.wait_seconds
        if wait_seconds is not None:  # unless somebody has called for a look meanwhile
            self.scan_at = min(self.scan_at, now + min(wait_seconds, rescan_seconds))
        some = f"{self.doing}: some of it"  # which keeps nobody from taking the rest
        if found.stuck:
            engine.trouble.mention(FaultKind.PERMISSION_DENIED, some, "; ".join(found.stuck[:5]))
        elif self.drops.is_through:
            engine.trouble.heal(some)

    def _scan(self, act: Callable[[Scan], None] | None) -> Scan:
        found = self.drops.scan(sync=self.sync)
        if act is not None and found.brought:
            act(found)
        return found


def follow_settings(drops: DropFolder, settings: Settings) -> None:
    """Go by other limits from now on."""
    drops.follow(
        max_bytes=settings.max_request_bytes,
        settle_seconds=settings.settle_seconds,
        allowed_uids=settings.allowed_uids,
        gid=gid_of(settings),
    )


def open_drop_folder(path: Path, settings: Settings, *, empty_is_fine: bool = False) -> DropFolder:
    """A drop folder with the settings' limits."""
    return DropFolder(
        path,
        max_bytes=settings.max_request_bytes,
        settle_seconds=settings.settle_seconds,
        allowed_uids=settings.allowed_uids,
        gid=gid_of(settings),
        empty_is_fine=empty_is_fine,
    )


def gid_of(settings: Settings) -> int | None:
    """The group whose members may drop; None where it does not exist (any more): then nobody is a member."""
    try:
        return None if settings.group is None else group_id(settings.group)
    except KeyError:
        return None
