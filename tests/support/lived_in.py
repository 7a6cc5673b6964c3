"""A spool that a real daemon has worked in, made once and put back as it was before each test."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

from tests.support.house import House
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.contracts.settings import default_settings
from haikud.engine.upkeep.doctor import check_spool, repair
from haikud.engine.upkeep.findings import MACHINE, Code, Finding
from haikud.engine.upkeep.machine import Surroundings
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Store

WORKS = 'echo "# $TASK_ID" >> calc.py && git commit -q -a -m "Work on $TASK_ID"'
ASKS = '[ -n "$HAIKUD_GUIDANCE_FILE" ] || { echo "which one?"; exit 79; }'


class LivedIn:
    """The spool, its repository, and the doctor on it.

    Finished: `merged` (its branch merged into main), `single` (not merged), `pair` (two tasks without a worktree) and
    `broken` (failed); open: `asks` (a question) and `later` (paused); rejected: `bad`, and `single` with other content.
    """

    def __init__(self, root: Path) -> None:
        self.house = House(root / "here")
        self.root = self.house.root
        self.kept = root / "kept"
        self.layout = SpoolLayout((self.house.spool).resolve())
        self.store = Store(self.layout)
        self._live()
        shutil.copytree(self.root, self.kept, symlinks=True)

    def _live(self) -> None:
        house = self.house
        house.role("works", WORKS)
        house.role("quick", "true", workspace="none")
        house.role("breaks", "exit 1", workspace="none")
        house.role("asks", ASKS, workspace="none")
        house.start()
        for name in ("merged", "single"):
            house.request(name, role="works")
        pair = [{"id": name, "title": name, "role": "quick"} for name in ("a", "b")]
        house.drop("incoming", "pair.json", {"task_plan": {"id": "pair", "tasks": pair}})
        house.request("broken", role="breaks")
        house.request("asks", role="asks")
        house.drop("incoming", "bad.json", {"task_id": "bad"})
        for name in ("merged", "single", "pair", "broken", "bad"):
            house.response(name)
        house.request("single", role="quick")
        house.response("single.rejected.1")
        wait_until(lambda: house.read("escalations/asks.json"), what="the question")
        house.drop("control", "all.pause", "")
        wait_until(lambda: house.read("queue.json"), what="the pause")
        house.request("later", role="quick")
        wait_until(lambda: house.state("later") == "queued", what="the queued task")
        wait_until(lambda: not list((house.spool / "incoming").iterdir()), what="the last request to be unlinked")
        house.send(signal.SIGTERM)
        assert house.ended() == 0
        git(house.repository, "merge", "-q", "feature/merged")

    def put_back(self, *names: str) -> None:
        """The spool, or these folders beside it too, as the daemon left them, at the same paths."""
        for name in ("spool", *names):
            shutil.rmtree(self.root / name)
            shutil.copytree(self.kept / name, self.root / name, symlinks=True)

    # -- the doctor -------------------------------------------------------------------------------------------------

    def look(self, *, daemon: int | None = None) -> dict[Code, list[Finding]]:
        """What the doctor finds in the spool, by code."""
        found: dict[Code, list[Finding]] = {}
        for one in check_spool(self.layout, daemon=lambda: daemon):
            found.setdefault(one.code, []).append(one)
        return found

    def repair(self) -> tuple[list[Finding], list[Finding]]:
        """Mend; what was mended, and what is left of the spool's findings."""
        done = repair(self.layout, around())
        left = [one for one in done if not one.repaired and one.code not in MACHINE]
        return [one for one in done if one.repaired], left

    def path(self, name: str) -> Path:
        """A path in the spool."""
        return self.layout.root / name


def around(**changes: Any) -> Surroundings:
    """Settings as they are by default, and an environment with nothing in it."""
    fields: dict[str, Any] = {"settings": default_settings(), "settings_faults": [], "environ": {}}
    return Surroundings(**{**fields, **changes})
