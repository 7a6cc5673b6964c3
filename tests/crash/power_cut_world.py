"""What goes on while the power is cut: requests of all kinds, dropped properly and carelessly, and a ledger of them.

The ledger lives outside the disk. What counts as acknowledged: a plan's folder is there and its request is gone from
incoming/, or an answer was seen in responses/. What a proper producer dropped (dot-name, fsync, rename, fsync of the
folder) must not be lost from that moment on, acknowledged or not.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.house import House

COMMIT = 'git add -A; git diff --cached --quiet || git commit -qm "Work of $HAIKUD_REF"'
ROLES = {
    "commits": f'echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"; {COMMIT}',
    "leaves": 'echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"',
    "pauses": (
        f'echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"; {COMMIT}; echo half > later.txt; sleep 1; rm later.txt'
    ),
    "tries": '[ "$HAIKUD_ATTEMPT" -ge 2 ] || exit 75; echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"',
    "asks": (
        'if [ -n "$HAIKUD_GUIDANCE_FILE" ]; then echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"; '
        "else echo begun > begun.txt; echo which one; exit 79; fi"
    ),
    "fails": '[ -e "OUTSIDE/mended-$HAIKUD_REF" ] || exit 1; echo "work of $HAIKUD_REF" > "work-$HAIKUD_REF.txt"',
    "sleeps": "sleep 600",
}
STARTED = 'echo "$HAIKUD_REF $HAIKUD_ATTEMPT" >> "OUTSIDE/started"\n'

KINDS = ("commits", "leaves", "pauses", "tries", "asks", "fails", "sleeps", "chain", "broken")


@dataclass
class Request:
    """One request, how it is dropped, and what was seen of it."""

    id: str
    kind: str
    how: str  # proper, or one of the careless ways
    at: float  # seconds after the start
    dropped: bool = False
    durable: bool = False  # the producer knows that it cannot be lost
    acknowledged: bool = False
    answers: dict[str, bytes] = field(default_factory=dict)  # name in responses/ -> the last that was seen
    done: set[str] = field(default_factory=set)  # what was dropped in answer to what was seen: guidance, retry, cancel

    @property
    def refs(self) -> list[str]:
        """Of its tasks."""
        return [f"{self.id}.{task}" for task in "abc"] if self.kind == "chain" else [self.id]

    @property
    def expected(self) -> str:
        """The status of its answer in the end."""
        return {"sleeps": "cancelled", "broken": "rejected"}.get(self.kind, "success")

    @property
    def name(self) -> str:
        """As dropped."""
        return f"{self.id}.json"

    def content(self) -> bytes:
        """The request's bytes."""
        if self.kind == "broken":
            return b'{"task_id": "' + self.id.encode() + b'", "title": 7, "files": "none"}'
        if self.kind == "chain":
            tasks = [
                {"id": task, "title": f"Task {task}", "role": "commits", "dependencies": before}
                for task, before in (("a", []), ("b", ["a"]), ("c", ["b"]))
            ]
            return json.dumps({"task_plan": {"id": self.id, "tasks": tasks}}).encode()
        return json.dumps({"task_id": self.id, "title": f"Do {self.id}", "role": self.kind}).encode()


HOW = ("proper", "proper", "copied", "renamed", "in two parts")


def make_requests(rng: random.Random, count: int, seconds: float) -> list[Request]:
    """So many requests of all kinds over so many seconds; each kind properly at least once where there is room."""
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    rng.shuffle(kinds)
    requests = []
    for number, kind in enumerate(kinds):
        how = rng.choice(HOW)
        requests.append(Request(f"r{number:02d}-{kind}", kind, how, rng.uniform(0, seconds)))
    return sorted(requests, key=lambda request: request.at)


def make_house(folder: Path, outside: Path, *, max_agents: int = 3) -> House:
    """A house on the disk, with the roles; what the agents tell of their starts goes outside."""
    house = House(folder, settings={"max_agents": max_agents, "retries": {"waits": [0.05, 0.1]}})
    for name, script in ROLES.items():
        house.role(name, (STARTED + script).replace("OUTSIDE", str(outside)))
    return house


class World:
    """The requests on their way, driven by `step`. Only what the disk shows is ever acted upon."""

    def __init__(self, house: House, outside: Path, requests: list[Request]) -> None:
        self.house = house
        self.outside = outside
        self.requests = requests

    # -- dropping

    def step(self, now: float) -> None:
        """Drop what is due, look at what there is, answer what was asked."""
        for request in self.requests:
            if not request.dropped and request.at <= now:
                self._drop(request)
        self.look()
        for request in self.requests:
            if request.dropped:
                self._react(request)

    def _drop(self, request: Request) -> None:
        folder = self.house.spool / "incoming"
        data = request.content()
        request.dropped = True
        if request.how == "proper":
            drop_properly(folder, request.name, data)
            request.durable = True
        elif request.how == "copied":
            (folder / request.name).write_bytes(data)
        elif request.how == "renamed":
            hidden = folder / f".{request.name}.new"
            hidden.write_bytes(data)
            hidden.rename(folder / request.name)
        else:
            with (folder / request.name).open("wb") as file:
                file.write(data[:20])
                file.flush()
                file.write(data[20:])

    def _react(self, request: Request) -> None:
        spool, ref = self.house.spool, request.id
        if request.kind == "asks" and (spool / "escalations" / f"{ref}.json").exists():
            self._once(request, "guidance", lambda: drop_properly(spool / "guidance", f"{ref}.txt", b"the first one\n"))
        if request.kind == "fails" and f"{ref}.json" in request.answers:
            self._once(request, "retry", lambda: self._retry(ref))
        if request.kind == "sleeps" and os.path.lexists(spool / "tasks" / "running" / ref):
            self._once(request, "cancel", lambda: drop_properly(spool / "control", f"{ref}.cancel", b""))

    def _retry(self, ref: str) -> None:
        (self.outside / f"mended-{ref}").touch()
        drop_properly(self.house.spool / "control", f"{ref}.retry", b"")

    @staticmethod
    def _once(request: Request, what: str, act: Callable[[], None]) -> None:
        if what not in request.done:
            act()
            request.done.add(what)

    # -- looking

    def look(self) -> None:
        """Write into the ledger what is to be seen on the disk."""
        spool = self.house.spool
        waiting = " ".join(path.name for path in (spool / "incoming").iterdir())
        for request in self.requests:
            if not request.dropped:
                continue
            if (spool / "plans" / request.id).is_dir() and request.name not in waiting:
                request.acknowledged = True
            for ref in {request.id, *request.refs}:
                path = spool / "responses" / f"{ref}.json"
                if path.exists():
                    request.answers[path.name] = path.read_bytes()
                    request.acknowledged = request.acknowledged or ref == request.id

    def is_answered(self, request: Request) -> bool:
        """Whether its last answer is there."""
        return self.status_of(request) == request.expected

    def status_of(self, request: Request) -> str | None:
        """The status of its present answer."""
        found = self.house.read(f"responses/{request.name}")
        return None if found is None else str(found["status"])

    def ledger(self) -> list[Request]:
        """A copy of the ledger as it is now, of what was dropped by now."""
        copies = []
        for request in self.requests:
            if request.dropped:
                fields: dict[str, Any] = {**vars(request), "answers": dict(request.answers), "done": set(request.done)}
                copies.append(Request(**fields))
        return copies


def drop_properly(folder: Path, name: str, data: bytes) -> None:
    """As a producer should: on return neither a crash nor a power cut can lose it."""
    hidden = folder / f".{name}.new"
    with hidden.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
