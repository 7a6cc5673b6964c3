"""The wall clock may jump: waits stay as long as they were meant, limits are kept by the kernel's clock."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.made import NOW

from haikud.contracts.base import utc_now
from haikud.contracts.live import FaultKind
from haikud.contracts.settings import Settings
from haikud.engine.machine import examining as machine
from haikud.engine.machine.trouble import Trouble
from haikud.engine.recovery import _age
from haikud.engine.timers import LONG_SECONDS, Timers
from haikud.spool.claims import write_runner_identity
from haikud.spool.format import open_spool
from haikud.spool.layout import AttemptPaths, SpoolLayout


class Clocks:
    """A monotonic clock and a wall clock that can part."""

    def __init__(self) -> None:
        self.steady, self.wall = 1000.0, NOW
        self.timers = Timers(lambda: self.steady, lambda: self.wall)

    def pass_by(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += timedelta(seconds=seconds)

    def left(self, until: datetime, since: datetime = NOW) -> float:
        return self.timers.seconds_left("one", until, since)


@pytest.mark.parametrize("jump", [-86_400, -600, 600, 86_400])
def test_a_wait_is_as_long_as_it_was_meant_whatever_the_wall_clock_does(jump: float):
    clocks, until = Clocks(), NOW + timedelta(seconds=60)
    assert clocks.left(until) == 60
    clocks.pass_by(20)
    clocks.wall += timedelta(seconds=jump)
    assert clocks.left(until) == 40
    clocks.pass_by(40)
    assert clocks.left(until) == 0


def test_after_a_restart_with_the_clock_set_back_no_wait_is_longer_than_it_was_decided():
    clocks, until = Clocks(), NOW + timedelta(seconds=60)
    clocks.wall -= timedelta(days=1)
    assert clocks.left(until) == 60
    clocks.timers.keep(set())
    clocks.wall = NOW + timedelta(days=1)
    assert clocks.left(until) == 0


def test_a_wait_for_a_time_of_day_is_over_at_that_time():
    clocks, until = Clocks(), NOW + timedelta(seconds=2 * LONG_SECONDS)
    assert clocks.left(until) == 2 * LONG_SECONDS
    clocks.wall += timedelta(seconds=2 * LONG_SECONDS)
    assert clocks.left(until) == 0


@pytest.mark.parametrize("days", [-400, 400])
def test_a_runners_age_does_not_depend_on_the_wall_clock(tmp_path: Path, days: int):
    told, paths = utc_now() + timedelta(days=days), AttemptPaths(tmp_path)
    started = _age(os.getpid(), paths, told)
    assert 0 < started < 86_400
    write_runner_identity(paths.runner, "1")  # its attempt begins, in a process that was forked before
    assert _age(os.getpid(), paths, told) < started
    assert _age(None, paths, utc_now() + timedelta(days=1)) == 0


async def test_a_jump_is_mentioned_and_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    open_spool(tmp_path)
    said: list[str] = []
    steady, wall = 50.0, NOW

    class Small:
        trouble = Trouble(said.append, lambda: steady)
        layout, settings = SpoolLayout(tmp_path), Settings.model_validate({"min_free_bytes": 0})

        @staticmethod
        def clock() -> float:
            return steady

    monkeypatch.setattr(machine, "utc_now", lambda: wall)
    looks = machine.Machine(Small())  # type: ignore[arg-type]
    for seconds in (0, 1, 4, -3600):
        steady += 1
        wall += timedelta(seconds=1 + seconds)
        await looks.look()
        await asyncio.sleep(0)
    (fault,) = Small.trouble.faults()
    assert (fault.kind, fault.holds_work) == (FaultKind.CLOCK_JUMPED, False)
    assert "back by 3600 s" in fault.message
    assert len(said) == 1
