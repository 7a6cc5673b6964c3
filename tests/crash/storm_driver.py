"""The requesters of the storm: drop plans as others are finished, answer questions, cancel, pause and resume."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.crash.storm_plans import AskedPlan, BadRequest, Script
from tests.crash.storm_stage import Stage

OPEN_TASKS = 50
"""So many tasks are kept open as long as there are plans left to drop."""

STALLED_SECONDS = 120.0
STUCK_SECONDS = 20.0
FINAL = ("succeeded", "failed", "cancelled")


@dataclass(order=True)
class _Due:
    at: float
    number: int
    act: Callable[[], bool] = field(compare=False)  # whether it could be done; else it is tried again soon


class Driver:
    """See the module's head. `run` returns when everything is answered, or `over` is set."""

    def __init__(self, stage: Stage, script: Script, dice: random.Random) -> None:
        self.violations: list[str] = []
        self.did: Counter[str] = Counter()
        self.over = threading.Event()
        self.finished = 0  # tasks
        self._stage = stage
        self._spool = stage.house.spool
        self._script = script
        self._dice = dice
        self._due: list[_Due] = []
        self._number = 0
        self._dropped = 0  # tasks
        self._first_seen: dict[str, bytes] = {}  # responses/NAME -> its content when it was first seen
        self._answered: dict[str, float] = {}  # escalation id -> when
        self._to_drop: list[AskedPlan | BadRequest] = _mixed(script, dice)
        self._queue_pauses = [0.3, 0.6]  # at what progress
        self._moved = time.monotonic()

    @property
    def progress(self) -> float:
        """The share of all tasks that are final."""
        return self.finished / len(self._script.tasks)

    def run(self) -> None:
        """Until everything is answered."""
        while not self.over.is_set():
            self._count()
            self._drop_more()
            self._answer_questions()
            self._do_what_is_due()
            self._watch_answers()
            if self._is_done():
                self.over.set()
                return
            self._watch_for_a_stall()
            time.sleep(0.05)

    def expected_answers(self) -> set[str]:
        """The names in responses/ when all is over."""
        names = {bad.answer for bad in self._script.bad}
        for plan in self._script.plans:
            names.add(f"{plan.id}.json")
            if len(plan.tasks) > 1:
                names.update(f"{task.ref}.json" for task in plan.tasks)
        return names

    # -- steps

    def _count(self) -> None:
        finished = sum(len(list((self._spool / "tasks" / state).iterdir())) for state in FINAL)
        if finished != self.finished:
            self._moved = time.monotonic()
        self.finished = finished

    def _drop_more(self) -> None:
        while self._to_drop and self._dropped - self.finished < OPEN_TASKS:
            what = self._to_drop[0]
            if isinstance(what, BadRequest):
                used = what.answer.removesuffix(".rejected.1.json")
                if used != what.answer and not (self._spool / "plans" / used).is_dir():
                    self._to_drop.append(self._to_drop.pop(0))  # the id is to be used before
                    return
                self._stage.house.drop("incoming", what.name, what.content)
                self.did["bad requests"] += 1
            else:
                self._drop_plan(what)
            self._to_drop.pop(0)
            self._moved = time.monotonic()

    def _drop_plan(self, plan: AskedPlan) -> None:
        name, content = plan.document([str(path) for path in self._stage.repositories])
        self._stage.house.drop("incoming", name, content)
        self._dropped += len(plan.tasks)
        self.did["plans"] += 1
        if plan.twice:
            self._after(
                self._dice.uniform(0, 15), lambda: self._drop("incoming", f"again-{name}", content, "duplicates")
            )
        for target in plan.cancelled:
            self._after(self._dice.uniform(0, 10), partial(self._control, plan, f"{target}.cancel", "cancels"))
        for target in plan.paused:
            self._after(self._dice.uniform(0, 8), partial(self._pause, plan, target))

    def _pause(self, plan: AskedPlan, target: str) -> bool:
        if not self._control(plan, f"{target}.pause", "pauses"):
            return False
        self._after(self._dice.uniform(0.2, 3), lambda: self._control(plan, f"{target}.resume", "resumes"))
        return True

    def _control(self, plan: AskedPlan, name: str, what: str) -> bool:
        return (self._spool / "plans" / plan.id).is_dir() and self._drop("control", name, b"", what)

    def _drop(self, folder: str, name: str, content: bytes, what: str) -> bool:
        self._stage.house.drop(folder, name, content)
        self.did[what] += 1
        return True

    def _after(self, seconds: float, act: Callable[[], bool]) -> None:
        self._number += 1
        heapq.heappush(self._due, _Due(time.monotonic() + seconds, self._number, act))

    def _do_what_is_due(self) -> None:
        if self._queue_pauses and self.progress >= self._queue_pauses[0]:
            self._queue_pauses.pop(0)
            self._drop("control", "all.pause", b"", "pauses of the queue")
            self._after(self._dice.uniform(0.5, 2), lambda: self._drop("control", "all.resume", b"", "resumes"))
        while self._due and self._due[0].at <= time.monotonic():
            due = heapq.heappop(self._due)
            if not due.act():
                self._after(0.2, due.act)

    def _answer_questions(self) -> None:
        for path in (self._spool / "escalations").iterdir():
            try:
                question = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue
            ref, key = path.stem, question["payload"]["escalation_id"]
            if key in self._answered:
                self._watch_answered(ref, key)
                continue
            self._answered[key] = time.monotonic() + self._dice.uniform(0, 2)
            text = f"this way, {ref}"
            name, content = (
                (f"{ref}.json", json.dumps({"escalation_id": key, "guidance": text}))
                if self._dice.random() < 0.5
                else (f"{ref}.txt", text)
            )
            self._after(
                self._dice.uniform(0, 2), lambda n=name, c=content: self._drop("guidance", n, c.encode(), "answers")
            )

    def _watch_answered(self, ref: str, key: str) -> None:
        if time.monotonic() - self._answered[key] < STUCK_SECONDS or any((self._spool / "guidance").iterdir()):
            return
        self.violations.append(f"the answer to {key} was lost: the question is still open")
        self._answered[key] = time.monotonic()
        self._drop("guidance", f"{ref}.txt", f"this way, {ref}".encode(), "answers once more")

    def _watch_answers(self) -> None:
        for name in self._visible("responses"):
            if name not in self._first_seen:
                self._first_seen[name] = (self._spool / "responses" / name).read_bytes()
                self._moved = time.monotonic()

    def _visible(self, folder: str) -> Iterator[str]:
        return (path.name for path in (self._spool / folder).iterdir() if not path.name.startswith("."))

    def _is_done(self) -> bool:
        if self._to_drop or self._due or self.finished < len(self._script.tasks):
            return False
        waiting = [path for folder in ("incoming", "guidance", "control") for path in (self._spool / folder).iterdir()]
        return not waiting and self.expected_answers() <= set(self._first_seen)

    def _watch_for_a_stall(self) -> None:
        still = time.monotonic() - self._moved
        if still > STUCK_SECONDS and not self._due and not any((self._spool / "control").iterdir()):
            for path in (self._spool / "tasks" / "paused").iterdir():
                self.violations.append(f"{path.name} stays paused though it was resumed")
                self._drop("control", f"{path.name}.resume", b"", "resumes once more")
                self._moved = time.monotonic()
        if still > STALLED_SECONDS:
            self.violations.append(f"nothing moved for {STALLED_SECONDS:g} s; {self._what_is_open()}")
            self.over.set()

    def _what_is_open(self) -> str:
        states = [path for path in (self._spool / "tasks").iterdir() if path.name not in FINAL]
        found = {state.name: sorted(link.name for link in state.iterdir())[:10] for state in states}
        missing = sorted(self.expected_answers() - set(self._first_seen))[:10]
        return f"open: { {k: v for k, v in found.items() if v} }, not answered: {missing}"

    # -- afterwards

    def changed_answers(self) -> list[str]:
        """Answers that are not what they were when they were first seen."""
        changed = []
        for name, content in self._first_seen.items():
            path = self._spool / "responses" / name
            if not path.exists():
                changed.append(f"responses/{name} is gone again")
            elif path.read_bytes() != content:
                changed.append(f"responses/{name} has changed since it was published")
        return changed

    def set_aside(self) -> dict[str, dict[str, object]]:
        """The reasons in rejected/, by the dropped name; of several of one name the last."""
        found: dict[str, dict[str, object]] = {}
        for path in sorted(Path(self._spool, "rejected").glob("*.reason.json")):
            reason = json.loads(path.read_bytes())
            found[reason["name"]] = reason
        return found


def _mixed(script: Script, dice: random.Random) -> list[AskedPlan | BadRequest]:
    mixed: list[AskedPlan | BadRequest] = list(script.plans)
    for bad in script.bad:
        mixed.insert(dice.randint(1, len(mixed)), bad)
    return mixed
