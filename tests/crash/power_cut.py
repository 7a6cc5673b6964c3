"""The power is cut at random moments of a busy life; a fresh daemon must finish everything, and lose nothing.

    python -m tests.crash.power_cut [--filesystems ext4,xfs,btrfs] [--moments 10] [--seed N]

The spool and a git repository with its worktrees lie on one loop-mounted filesystem. A real daemon with real runners
serves requests of all kinds; at seeded moments everything is stopped for an instant and the disk copied. Then the old
world is killed, and each copy in turn is mounted in its place, under another boot id, and served by a fresh daemon until
everything is answered. See power_cut_disk.py for what such a cut is and is not.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.crash import power_cut_checks
from tests.crash.power_cut_disk import MEMORY, Disk, why_not
from tests.crash.power_cut_world import Request, World, make_house, make_requests
from tests.support.house import House

TICK_SECONDS = 0.03
RECOVERY_SECONDS = 90.0
OTHER_BOOT = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"']


@dataclass
class Cut:
    """One moment, and what was known then."""

    number: int
    at: float
    image: Path
    ledger: list[Request]
    marks: set[str]  # the files in the world outside: what had been mended by then


@dataclass
class Figures:
    """What came of it."""

    filesystem: str
    moments: int = 0
    acknowledged: int = 0
    answers_seen: int = 0
    lost_careless: int = 0  # dropped without fsync and not acknowledged: the producer's own loss
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.filesystem}: {self.moments} moments, {self.acknowledged} acknowledged requests, "
            f"{self.answers_seen} answers seen before a cut, {self.lost_careless} careless drops gone, "
            f"{len(self.faults)} faults"
        )


def cut_power(filesystem: str, moments: int, seed: int, *, requests: int = 18, seconds: float = 8.0) -> Figures:
    """One life with so many cuts, and the recovery from each."""
    rng = random.Random(f"{seed} {filesystem}")  # noqa: S311 - a seed is to give the same moments again
    figures = Figures(filesystem)
    folder = Path(tempfile.mkdtemp(prefix="haikud-power-cut-", dir=MEMORY))
    outside = folder / "outside"
    outside.mkdir()
    disk = Disk(folder, filesystem)
    try:
        disk.make()
        house = make_house(disk.where / "house", outside)
        try:
            world = World(house, outside, make_requests(rng, requests, seconds * 0.7))
            cuts = _live(disk, world, rng, moments, seconds)
        finally:
            house.close()
        for cut in cuts:
            _recover(disk, world, cut, figures)
    finally:
        disk.close()
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def _live(disk: Disk, world: World, rng: random.Random, moments: int, seconds: float) -> list[Cut]:
    """The life: until the last cut."""
    house = world.house
    house.start()
    disk.sync()  # the machine and the daemon have been running for long
    times = sorted(rng.uniform(0.1, seconds) for _ in range(moments))
    cuts: list[Cut] = []
    began, stood_still = time.monotonic(), 0.0
    while times:
        now = time.monotonic() - began - stood_still
        world.step(now)
        assert house.process is not None
        assert house.process.poll() is None, f"the daemon ended by itself: {house.said()[-2000:]}"
        if now >= times[0]:
            stopped_at = time.monotonic()
            image = world.outside.parent / f"cut-{len(cuts)}"
            with _standing_still(house):
                ledger = world.ledger()
                disk.copy(image)
            marks = {path.name for path in world.outside.iterdir() if path.name.startswith("mended-")}
            cuts.append(Cut(len(cuts), times.pop(0), image, ledger, marks))
            stood_still += time.monotonic() - stopped_at
        time.sleep(TICK_SECONDS)
    return cuts


@contextlib.contextmanager
def _standing_still(house: House) -> Iterator[None]:
    """Stop the daemon, the runners and the agents; they go on afterwards."""
    stopped: dict[int, psutil.Process] = {}
    assert house.process is not None
    try:
        while True:
            fresh = [psutil.Process(house.process.pid), *house.leftovers()]
            fresh = [process for process in fresh if process.pid not in stopped]
            if not fresh:
                break
            for process in fresh:
                stopped[process.pid] = process
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in stopped.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def _recover(disk: Disk, world: World, cut: Cut, figures: Figures) -> None:
    """The power is back."""
    disk.put_in(cut.image)
    house = world.house
    boot_id = world.outside / "boot-id"
    boot_id.write_text(f"00000000-0000-4000-8000-{cut.number:012d}\n", encoding="ascii")
    house.wrapper = [*OTHER_BOOT, str(boot_id)]
    for path in world.outside.glob("mended-*"):
        path.unlink()
    for name in cut.marks:  # also those that the life after an earlier cut had not
        (world.outside / name).touch()
    (world.outside / "started").write_bytes(b"")
    ledger = cut.ledger
    after = World(house, world.outside, [_again(request) for request in ledger])
    where = f"{disk.filesystem} moment {cut.number} at {cut.at:.2f} s"
    print(f"  {where}: {sum(one.acknowledged for one in ledger)} acknowledged of {len(ledger)} dropped", flush=True)
    (house.root / "daemon.log").unlink(missing_ok=True)
    try:
        house.start()
        _until_quiet(after)
        started = [line.split()[0] for line in (world.outside / "started").read_text().splitlines()]
        found = power_cut_checks.faults(after, ledger, started)
    except AssertionError as error:
        found = [f"the daemon: {error}"]
    finally:
        house.close()
    figures.moments += 1
    figures.acknowledged += sum(request.acknowledged for request in ledger)
    figures.answers_seen += sum(len(request.answers) for request in ledger)
    figures.lost_careless += sum(
        after.status_of(request) in {None, "rejected"} and request.kind != "broken"
        for request in ledger
        if not (request.durable or request.acknowledged)
    )
    figures.faults += [f"{where}: {fault}" for fault in found]
    if found:
        _keep(house, where)


def _again(request: Request) -> Request:
    """The same request for the life after the cut."""
    return Request(**{**vars(request), "answers": {}, "done": set(request.done)})


def _until_quiet(world: World) -> None:
    """Wait until everything is answered that is there to be answered."""
    give_up_at = time.monotonic() + RECOVERY_SECONDS
    quiet_since: float | None = None
    while time.monotonic() < give_up_at:
        world.step(float("inf"))
        assert world.house.process is not None
        assert world.house.process.poll() is None, f"it ended by itself: {world.house.said()[-2000:]}"
        quiet = all(world.is_answered(one) for one in world.requests) or _nothing_open(world.house)
        quiet_since = (quiet_since or time.monotonic()) if quiet else None
        if quiet_since is not None and time.monotonic() - quiet_since > 1.0:
            return
        time.sleep(TICK_SECONDS)


def _nothing_open(house: House) -> bool:
    """No open task, and nothing in a drop folder that is to be taken."""
    spool = house.spool
    if any(
        path
        for state in ("waiting", "queued", "running", "deferred", "paused", "escalated")
        for path in (spool / "tasks" / state).iterdir()
    ):
        return False
    left = [path.name for name in ("incoming", "guidance", "control") for path in (spool / name).iterdir()]
    return not [name for name in left if not name.endswith(".new")]


def _keep(house: House, where: str) -> None:
    """What helps to understand a fault."""
    print(f"--- {where}: the daemon said", house.said()[-3000:], sep="\n", file=sys.stderr)


def main() -> int:
    """Run it; the number of filesystems with faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power_cut", description=__doc__)
    parser.add_argument("--filesystems", default="ext4,xfs,btrfs")
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is mounted is unmounted then too
    print(
        f"replay: python -m tests.crash.power_cut --filesystems {args.filesystems} --moments {args.moments} "
        f"--seed {args.seed}",
        flush=True,
    )
    bad = 0
    for filesystem in args.filesystems.split(","):
        reason = why_not(filesystem)
        if reason is not None:
            print(f"{filesystem}: not possible here: {reason}", file=sys.stderr)
            bad += 1
            continue
        figures = cut_power(filesystem, args.moments, args.seed)
        print(figures, *(f"  FAULT {fault}" for fault in figures.faults), sep="\n", flush=True)
        bad += bool(figures.faults)
    return bad


if __name__ == "__main__":
    sys.exit(main())
