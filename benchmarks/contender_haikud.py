"""haikud as a contender: one daemon for both of its ways, with the shipped settings, two slots and sandbox `none`.

A role with `workspace: none` runs the program in an empty folder; the ordinary way gives it a worktree and a branch of
a small repository, and looks at what it left there. Both are admitted, claimed, settled and answered durably.
"""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.contenders import HAIKUD, HAIKUD_ORDINARY, SLOTS, Contender
from benchmarks.figures import ready_house
from benchmarks.stamp import Stamp
from benchmarks.watch import Watch
from tests.support.house import House
from tests.support.waiting import wait_until


class Haikud(Contender):
    """Plans of one role, dropped into a spool that others may use too."""

    name = HAIKUD
    durability = "loses nothing; says what had run"
    workspace: str | None = "none"

    def __init__(self, folder: Path, stamp: Stamp, house: House) -> None:
        super().__init__(folder, stamp)
        self.house = house
        self.watch = Watch(house.spool / "responses")

    def start(self) -> None:
        """Its role, and one plan to warm up."""
        kind = self.workspace or "worktree"
        front: dict[str, Any] = {"workspace": "none"} if self.workspace else {}
        self.role = self.house.role(f"noop-{kind}", "", command=self.stamp.argv, **front)
        self.ids = (f"{kind}-{number}" for number in count())
        self.dropped: list[str] = []
        self.drop()
        self.settled()
        assert len(self.stamp.read(1)) == 1

    def drop(self) -> int:
        """A small plan file, renamed into incoming/."""
        plan = next(self.ids)
        self.dropped.append(plan)
        hidden = f"{self.house.spool}/incoming/.{plan}.dropping"
        with open(hidden, "w", encoding="utf-8") as file:  # noqa: PTH123 - a producer's time counts in a burst
            json.dump({"task_id": plan, "title": f"Do {plan}", "role": self.role}, file)
        began = self.stamp.now()
        os.rename(hidden, f"{self.house.spool}/incoming/{plan}.json")  # noqa: PTH104
        return began

    def settled(self) -> int:
        """When the last plan's answer was there."""
        name = f"{self.dropped[-1]}.json"
        if not (self.house.spool / "responses" / name).exists():
            self.watch.wait_for(name)
        return self.stamp.now()

    def all_answered(self, plans: list[str], *, seconds: float) -> int:
        """When the last of these plans' answers was there, in whichever order."""
        folder = self.house.spool / "responses"
        left = {f"{plan}.json" for plan in plans}

        def none_left() -> bool:
            left.difference_update(self.watch.names())
            return not left or (len(left) < 5 and all((folder / name).exists() for name in left))

        wait_until(none_left, seconds=seconds, pause=0.01, what=lambda: f"{len(left)} answers; {self.house.tail()}")
        return self.stamp.now()

    def close(self) -> None:
        """Stop watching; whose house it is ends the daemon."""
        self.watch.close()


class HaikudOrdinary(Haikud):
    """The same with a worktree."""

    name = HAIKUD_ORDINARY
    workspace = None


def contenders_house(folder: Path) -> House:
    """The daemon that both share."""
    return ready_house(folder, {"max_agents": SLOTS})
