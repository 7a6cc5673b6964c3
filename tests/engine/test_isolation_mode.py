"""Which sandbox mode the engine takes, and what it says of one that does not work; the tries themselves are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engines import made_engine
from tests.support.laid_out import lay_out_tasks

from haikud.contracts.settings import SandboxSettings
from haikud.engine.engine import Engine
from haikud.engine.isolation_mode import AGAIN_SECONDS, IsolationMode
from haikud.sandbox.probe import Probed


class Desk:
    """An engine whose machine answers as it is told."""

    def __init__(self, engine: Engine, said: list[str]) -> None:
        self.engine, self.said, self.asked = engine, said, list[str]()
        self.answers = [Probed("bwrap")]
        self.now = 1000.0
        engine.clock = lambda: self.now
        self.mode = IsolationMode(engine, self.find)

    def find(self, wanted: str, settings: SandboxSettings) -> Probed:
        assert settings.mode == wanted
        self.asked.append(wanted)
        found = self.answers.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    async def settle(self) -> None:
        for _ in range(4):
            self.mode.look()
            if self.mode._trying is not None:
                await asyncio.wait({self.mode._trying})

    def want(self, mode: str) -> None:
        sandbox = SandboxSettings.model_validate({"mode": mode})
        self.engine.settings = self.engine.settings.model_copy(update={"sandbox": sandbox})


@pytest.fixture
async def desk(tmp_path: Path) -> Iterator[Desk]:
    layout = lay_out_tasks(tmp_path / "spool", 1, 1)
    said: list[str] = []
    engine = made_engine(layout, lambda line: said.append(str(line)))
    yield Desk(engine, said)
    engine.close()


async def test_nothing_starts_before_the_mode_is_known_and_it_is_tried_once(desk: Desk):
    assert not desk.engine.may_start()
    await desk.settle()
    assert desk.engine.sandbox == "bwrap"
    assert desk.engine.may_start()
    assert desk.said == ["sandbox bwrap"]
    assert desk.asked == ["auto"]
    assert desk.mode.seconds_left() is None


async def test_a_weaker_mode_is_said_with_the_reason_and_the_cure(desk: Desk):
    desk.answers = [Probed("landlock", ("bwrap: refused",), ("allow it",))]
    await desk.settle()
    assert desk.engine.sandbox == "landlock"
    assert desk.said == ["sandbox landlock (bwrap: refused; to have it: allow it)"]


async def test_where_nothing_works_it_is_a_fault_and_tried_again_by_and_by(desk: Desk):
    desk.answers = [Probed(None, ("bwrap: refused", "landlock: missing"), ("allow it",)), Probed("landlock")]
    await desk.settle()
    assert desk.engine.sandbox is None
    assert not desk.engine.may_start()
    (fault,) = desk.engine.trouble.faults()
    assert (fault.kind, fault.holds_work) == ("no_sandbox", False)  # requests are taken all the same
    assert "bwrap: refused; landlock: missing" in fault.message
    assert fault.cure.startswith("allow it; or `sandbox: {mode: none}`")
    assert desk.mode.seconds_left() == AGAIN_SECONDS
    assert desk.asked == ["auto"]
    desk.now += AGAIN_SECONDS
    await desk.settle()
    assert desk.engine.sandbox == "landlock"
    assert desk.engine.trouble.faults() == []


async def test_changed_settings_are_tried_and_an_answer_to_the_old_ones_counts_for_nothing(desk: Desk):
    desk.answers = [Probed("bwrap"), Probed(None, ("landlock: missing",)), Probed("bwrap")]
    desk.mode.look()
    assert desk.mode._trying is not None
    await asyncio.wait({desk.mode._trying})
    desk.want("landlock")  # while the answer was on its way
    await desk.settle()
    assert desk.asked == ["auto", "landlock"]
    assert desk.engine.sandbox is None
    desk.want("none")
    await desk.settle()
    assert desk.engine.sandbox == "none"
    assert desk.asked == ["auto", "landlock"]
    assert "sandbox none, as the settings say" in desk.said[-1]
    desk.want("bwrap")
    await desk.settle()
    assert desk.engine.sandbox == "bwrap"


async def test_a_try_that_the_machine_refuses_is_a_fault_and_not_the_end(desk: Desk):
    desk.answers = [OSError(11, "no thread"), Probed("bwrap")]
    await desk.settle()
    assert not desk.engine.may_start()
    assert [str(fault.kind) for fault in desk.engine.trouble.faults()] == ["no_processes"]
    desk.now += AGAIN_SECONDS
    await desk.settle()
    assert desk.engine.sandbox == "bwrap"
