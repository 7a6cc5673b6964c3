"""The disk is full, at every step of a task's life; when there is room again all goes on by itself.

    python -m tests.crash.full_disk [--phases request,work,...] [--pages 0,1,2,3,5,8] [--min-free 0,262144]

For each phase the state just before it is reached, the disk filled but for so many pages, and the phase set off. The
daemon must neither end nor lose nor half-write; once the ballast is gone the task must come to the answer it would have
had, without a person's doing. The spool lies on a tmpfs of 4 MiB; in the phases `repository-...` the repository does.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.house import House
from tests.support.repository import git
from tests.support.small_disk import SmallDisk, why_no_disk
from tests.support.waiting import wait_until

HOLD_SECONDS = 4.0  # longer than the pause after which what was refused is tried again
ANSWER_SECONDS = 90.0
REFUSED = "No space left"
PAGES = (0, 1, 2, 3, 5, 8, 12, 16, 24)

WORK = 'until echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"; do sleep 0.3; done'
GATE = 'while [ ! -e "OUTSIDE/go-$HAIKUD_PLAN_ID" ]; do sleep 0.05; done; '
ROLES = {
    "works": WORK,
    "waits": f"{GATE}{WORK}",
    "commits": (
        f"{GATE}{WORK}; "
        'until git add -A && { git diff --cached --quiet || git commit -qm "Work of $HAIKUD_REF"; }; do sleep 0.3; done'
    ),
    "floods": f"{GATE}{WORK}; head -c 3000000 /dev/zero | tr '\\0' 'x' | fold -w 100",
    "asks": f'if [ -n "$HAIKUD_GUIDANCE_FILE" ]; then {WORK}; else {GATE}echo which one; exit 79; fi',
    "fails": f'{GATE}[ -e "OUTSIDE/mended-$HAIKUD_PLAN_ID" ] || exit 1; {WORK}',
    "sleeps": f"{GATE}sleep 600",
}


@dataclass
class Scene:
    """One house whose spool or repository lies on a small disk."""

    house: House
    disk: SmallDisk
    outside: Path

    def let_go(self, name: str) -> None:
        """The agent may go on."""
        (self.outside / f"go-{name}").touch()

    def prepare(self, folder: str, name: str, content: bytes | dict[str, Any]) -> Callable[[], None]:
        """Write a drop while there is room; the rename that drops it is for later."""
        data = json.dumps(content).encode() if isinstance(content, dict) else content
        hidden = self.house.spool / folder / f".{name}.dropping"
        hidden.write_bytes(data)
        return lambda: self._rename(hidden, self.house.spool / folder / name)

    @staticmethod
    def _rename(hidden: Path, path: Path) -> None:
        hidden.rename(path)

    def running(self, name: str, role: str) -> None:
        """Ask for a task, and wait until its agent is at its gate."""
        self.house.request(name, role=role)
        wait_until((self.outside / f"began-{name}").exists, what=lambda: f"{name} to begin; {self.house.tail()}")


def request(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """Taking, admission, decision, order, start, work, result, settlement: whichever the pages suffice for."""
    scene.let_go(name)
    return scene.prepare("incoming", f"{name}.json", {"task_id": name, "title": "Do it", "role": "works"}), "success"


def rejection(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A request that is set aside and answered."""
    return scene.prepare("incoming", f"{name}.json", {"task_id": name, "title": 7}), "rejected"


def work(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """From the agent's work on: log, events, git, result, settlement, answer."""
    scene.running(name, "waits")
    return lambda: scene.let_go(name), "success"


def flood(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """An agent that fills what room there is with words."""
    scene.running(name, "floods")
    return lambda: scene.let_go(name), "success"


def failure(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A failure is to be settled and answered."""
    scene.running(name, "fails")
    return lambda: scene.let_go(name), "failure"


def escalation(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A question is to be published."""
    scene.running(name, "asks")
    return lambda: scene.let_go(name), "blocked"


def guidance(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A question is answered."""
    scene.let_go(name)
    scene.house.request(name, role="asks")
    wait_until(lambda: scene.house.read(f"escalations/{name}.json"), what="the question")
    return scene.prepare("guidance", f"{name}.txt", b"the first one\n"), "success"


def cancel(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A running task is cancelled."""
    scene.let_go(name)
    scene.running(name, "sleeps")
    return scene.prepare("control", f"{name}.cancel", b""), "cancelled"


def retry(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """A failed task is retried."""
    scene.let_go(name)
    scene.house.request(name, role="fails")
    assert scene.house.response(name)["status"] == "failure"
    (scene.outside / f"mended-{name}").touch()
    return scene.prepare("control", f"{name}.retry", b""), "success"


def repository_start(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """The worktree is to be made."""
    return request(scene, name)


def repository_commit(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """What the agent left is to be committed."""
    return work(scene, name)


def repository_harvest(scene: Scene, name: str) -> tuple[Callable[[], None], str]:
    """What the agent committed is to be taken over."""
    scene.running(name, "commits")
    return lambda: scene.let_go(name), "success"


PHASES = {
    phase.__name__.replace("_", "-"): phase
    for phase in (
        *(request, rejection, work, flood, failure, escalation, guidance, cancel, retry),
        *(repository_start, repository_commit, repository_harvest),
    )
}


@dataclass
class Figures:
    """What came of it."""

    cells: int = 0
    struck: int = 0  # cells in which something was refused
    told: int = 0  # of these, cells in which status.json or the log said so
    faults: list[str] = field(default_factory=list)


def fill_disk(phase: str, levels: list[int], min_free: int, figures: Figures, *, brief: bool = False) -> None:
    """One phase at so many levels, in a house of its own. `brief`: each only until it is seen to strike."""
    with tempfile.TemporaryDirectory(prefix="haikud-full-disk-") as folder:
        root, disk = Path(folder), SmallDisk(Path(folder) / "disk")
        disk.mount()
        try:
            house = _house(root, disk, phase, min_free)
            try:
                house.start()
                for level in levels:
                    figures.cells += 1
                    where = f"{phase} with {level} pages, min_free_bytes {min_free}"
                    try:
                        _cell(Scene(house, disk, root / "outside"), phase, level, figures, brief=brief)
                    except AssertionError as error:
                        figures.faults.append(f"{where}: {error}")
                        break
            finally:
                disk.free()
                house.close()
        finally:
            disk.close()


def _house(root: Path, disk: SmallDisk, phase: str, min_free: int) -> House:
    outside = root / "outside"
    outside.mkdir()
    house = House(root / "house", settings={"min_free_bytes": min_free, "retries": {"waits": [0.05, 0.1]}})
    if phase.startswith("repository"):
        small = disk.where / "project"
        house.repository = house.repository.rename(root / "moved")
        git(root, "clone", "-q", str(house.repository), str(small))
        house.repository = small
    else:
        house.spool = disk.where / "spool"
    for name, script in ROLES.items():
        house.role(name, f'touch "OUTSIDE/began-$HAIKUD_PLAN_ID"; {script}'.replace("OUTSIDE", str(outside)))
    return house


def _cell(scene: Scene, phase: str, level: int, figures: Figures, *, brief: bool) -> None:
    """Fill, set off, hold, look, make room, and wait for the answer."""
    house, name = scene.house, f"{phase}-{level}"
    set_off, expected = PHASES[phase](scene, name)
    said_before = len(house.said())
    scene.disk.fill(level)
    set_off()
    _hold(scene, name, expected, said_before if brief else None)
    said = house.said()[said_before:]
    struck = REFUSED in said or REFUSED in house.log(name) or scene.disk.free_pages() == 0
    figures.struck += struck
    figures.told += struck and (REFUSED in said or _is_faulted(house))
    _must_be_whole(house)
    assert said.count("\n") < 40, f"the log is flooded: {said[-2000:]}"
    scene.disk.free()
    _answered(house, name, expected)
    wait_until(lambda: not _is_faulted(house), seconds=20, what="status.json to say that all is well")
    _must_be_whole(house)
    if expected == "blocked":
        house.drop("guidance", f"{name}.txt", "the first one\n")
        _answered(house, name, "success")
    elif expected == "failure":
        (scene.outside / f"mended-{name}").touch()
    decisions = house.decisions(name) if expected != "rejected" else []
    assert [one["number"] for one in decisions] == list(range(1, len(decisions) + 1)), "decisions with gaps"
    left = [path for path in house.spool.rglob(".*.tmp") if path.is_file()]
    assert not left, f"left behind: {left}"


def _hold(scene: Scene, name: str, expected: str, said_before: int | None) -> None:
    """Wait a while, or until it is done in spite of all; the daemon must live. `said_before`: only until it is told."""
    until = time.monotonic() + (HOLD_SECONDS if said_before is None else ANSWER_SECONDS)
    while time.monotonic() < until:
        _must_live(scene.house)
        if _status(scene.house, name) == expected:
            return
        if said_before is not None and (REFUSED in scene.house.said()[said_before:] or _is_faulted(scene.house)):
            return
        time.sleep(0.05)


def _must_live(house: House) -> None:
    assert house.process is not None
    assert house.process.poll() is None, f"the daemon ended: {house.said()[-3000:]}"


def _status(house: House, name: str) -> str | None:
    for folder in ("escalations", "responses"):
        found = house.read(f"{folder}/{name}.json")
        if found is not None:
            return str(found["status"])
    return None


def _answered(house: House, name: str, expected: str) -> None:
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until and _status(house, name) != expected:
        _must_live(house)
        time.sleep(0.05)
    found = _status(house, name)
    answer = house.read(f"responses/{name}.json") or {}
    report = json.dumps((answer.get("payload", {}).get("error_report") or {}).get("error"))
    assert found == expected, f"it came to {found}, not to {expected}: {report[:800]}; {house.tail()[-3000:]}"


def _is_faulted(house: House) -> bool:
    with suppress(ValueError):
        status = house.read("status.json")
        return status is not None and status["daemon"]["state"] == "faulted"
    return False


def _must_be_whole(house: House) -> None:
    """No JSON file under its own name is half there."""
    for path in house.spool.rglob("*.json"):
        if path.is_symlink() or path.name.startswith(".") or "out" in path.parts or path.parent.name == "rejected":
            continue
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise AssertionError(f"{path} is not whole: {error}") from error


def main() -> int:
    """Run it; 1 where there are faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.full_disk", description=__doc__)
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--pages", default=",".join(map(str, PAGES)))
    parser.add_argument("--min-free", default="0,262144")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is mounted is unmounted then too
    reason = why_no_disk()
    if reason is not None:
        sys.exit(f"not possible here: {reason}")
    print(
        f"replay: python -m tests.crash.full_disk --phases {args.phases} --pages {args.pages} --min-free {args.min_free}"
    )
    total = Figures()
    for phase in args.phases.split(","):
        for min_free in map(int, args.min_free.split(",")):
            began, before = time.monotonic(), len(total.faults)
            fill_disk(phase, [int(level) for level in args.pages.split(",")], min_free, total)
            print(f"{phase}, min_free_bytes {min_free}: {time.monotonic() - began:.0f} s", flush=True)
            print(*(f"  FAULT {fault}" for fault in total.faults[before:]), sep="\n", flush=True)
    print(f"{total.cells} cells, {total.struck} with the disk full, {total.told} told, {len(total.faults)} faults")
    return bool(total.faults)


if __name__ == "__main__":
    sys.exit(main())
