"""The step of the daemon that watches attempts: events on disk in, an order on disk out, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from haikud.agent.events import EventLog
from haikud.contracts.attempt import AttemptEvent, EndOrder, EventKind, Orders
from haikud.contracts.base import utc_now
from haikud.contracts.settings import default_settings
from haikud.contracts.states import Phase, TaskState
from haikud.engine.attempts.ends import order_pause
from haikud.engine.board import OpenTask, OrderedEnd, Progress
from haikud.engine.engine import Engine
from haikud.engine.monitors.monitors import Monitors
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump_line, read_model


class Place:
    """A daemon with one running attempt, as far as monitors see it."""

    def __init__(self, folder: Path, **monitors: Any) -> None:
        self.layout = SpoolLayout(folder)
        self.paths = self.layout.task("p").attempt(1)
        self.paths.folder.mkdir(parents=True)
        self.events = EventLog(self.paths.events)
        self.ahead = 0.0  # of the daemon's clock: as if so many seconds had gone by
        self.told: list[tuple[str, str]] = []
        self.holds_work = False
        settings = default_settings().model_dump()
        settings["monitors"] |= monitors
        self.settings = type(default_settings()).model_validate(settings)
        self.new_daemon()

    def new_daemon(self) -> None:
        decision = SimpleNamespace(attempt=1, restarts=0, state=TaskState.RUNNING)
        task = SimpleNamespace(ref="p")
        owner = SimpleNamespace(id="p", plan=SimpleNamespace(id="p", tasks=[task]))
        self.entry = OpenTask(owner, 0, "p", decision, None, "role", "", None)  # type: ignore[arg-type]
        board = SimpleNamespace(tasks={"p": self.entry}, in_state=lambda _: [self.entry])
        self.engine = cast(
            "Engine",
            SimpleNamespace(
                layout=self.layout,
                settings=self.settings,
                board=board,
                clock=lambda: time.monotonic() + self.ahead,
                trouble=self,
                say=lambda _: None,
                note=lambda _, event, message="", **__: self.told.append((event, message)),
                write=self.run,
                aside_or_here=self.run,
            ),
        )
        self.monitors = Monitors(self.engine)

    async def run(self, action: Callable[..., object], *args: Any) -> object:
        return action(*args)

    async def look(self, after: float = 0.0) -> Orders | None:
        self.ahead += after + 1.0  # it looks once a second
        await self.monitors.work()
        return read_model(self.paths.orders, Orders)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.events.phase(Phase.IMPLEMENT, 10, "The agent is at work")
    return made


async def test_a_silent_attempt_is_ordered_to_end_once(place: Place):
    await place.look()
    assert await place.look(290) is None
    ordered = await place.look(10)
    assert ordered is not None
    assert ordered.intervene == place.entry.intervention
    assert [event for event, _ in place.told] == ["intervention"]
    await place.look(1000)
    assert len(place.told) == 1


async def test_a_later_daemon_knows_what_was_before_it(place: Place):
    for number in range(4):
        place.events.tool("bash: ls", "d")
        place.events.result("d", (f"error {number}", f"e{number}"))
    assert await place.look() is None
    place.new_daemon()
    assert await place.look() is None
    place.events.tool("bash: ls", "d")
    ordered = await place.look()
    assert ordered is not None
    assert ordered.intervene is not None
    assert ordered.intervene.trigger == "same_operation"


async def test_silence_goes_on_while_no_daemon_looks(tmp_path: Path):
    place = Place(tmp_path)
    begun = AttemptEvent(at=utc_now(), kind=EventKind.PHASE, phase=Phase.IMPLEMENT, clock=time.monotonic() - 302)
    place.paths.events.write_bytes(dump_line(begun))
    ordered = await place.look()
    assert ordered is not None
    assert ordered.intervene is not None
    assert ordered.intervene.message.startswith("no sign of the agent for 30")


async def test_a_pause_keeps_the_order_and_is_no_reason_for_another(place: Place):
    await place.look()
    place.entry.pause_token = "t" * 16
    assert await place.look(1000) is None
    place.entry.pause_token = None
    await place.look()
    await order_pause(place.engine, place.entry, "t" * 16)
    orders = read_model(place.paths.orders, Orders)
    assert orders is not None
    assert orders.pause
    assert orders.intervene == place.entry.intervention is not None


async def test_what_is_ending_is_left_alone(place: Place):
    await place.look()
    place.entry.ordered_end = OrderedEnd(EndOrder.CANCEL, "cancelled")
    assert await place.look(1000) is None


async def test_where_the_machine_refuses_to_write_silence_means_nothing(place: Place):
    await place.look()
    place.holds_work = True
    assert await place.look(1000) is None
    place.holds_work = False
    assert await place.look(200) is None
    assert await place.look(100) is not None


async def test_with_the_action_note_it_is_said_once_and_nothing_is_ordered(tmp_path: Path):
    place = Place(tmp_path, action="note")
    place.events.phase(Phase.IMPLEMENT, 10)
    await place.look()
    for _ in range(3):
        assert await place.look(400) is None
    assert [event for event, _ in place.told] == ["intervention"]
    assert place.entry.intervention is None
    assert [one.action for one in place.entry.seen] == ["note"]


async def test_undeclared_files_are_told_once_each(place: Place):
    place.events.files(["a.py"])
    await place.look()
    place.events.files(["a.py", "b.py"])
    await place.look()
    await place.look()
    assert [message for _, message in place.told] == [
        "changes files that it does not declare: a.py",
        "changes files that it does not declare: b.py",
    ]


async def test_more_than_one_look_can_hold_is_read_before_anything_is_judged(place: Place):
    with place.paths.events.open("ab") as events:
        events.write(b"x" * (1 << 20) + b"\n")
    await place.look()
    assert await place.look(1000) is None
    assert place.entry.progress.is_behind
    assert isinstance(place.entry.progress, Progress)
