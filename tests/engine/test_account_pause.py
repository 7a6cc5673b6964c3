"""The queue follows the gateway's pause: durably, at a person's word, and no longer than the gateway says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.engines import made_engine
from tests.support.laid_out import lay_out_tasks

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import Pause, PauseKind
from haikud.engine.engine import Engine
from haikud.engine.queue import end_quota_pause, follow_account, pause_queue, resume_queue
from haikud.spool.queue_state import read_queue_state


@pytest.fixture
async def engine(tmp_path: Path) -> Iterator[Engine]:
    layout = lay_out_tasks(tmp_path / "spool", 1, 1)
    made = made_engine(layout, lambda _: None, sandbox="none")
    yield made
    made.close()


def pause(seconds: float, kind: PauseKind = "rate_limit") -> Pause:
    return Pause(until=utc_now() + timedelta(seconds=seconds), reason=f"the API's {kind}", kind=kind)


async def test_a_pause_of_the_account_stops_new_attempts_and_ends_when_the_gateway_says_so(engine: Engine) -> None:
    told = pause(20)
    await follow_account(engine, told, is_linked=True)
    assert not engine.may_start()
    on_disk = read_queue_state(engine.layout)
    assert (on_disk.paused, on_disk.kind, on_disk.until) == (True, "rate_limit", told.until)
    assert on_disk.reason == told.reason
    since = engine.queue_since
    await follow_account(engine, told, is_linked=True)
    assert engine.queue_since == since, "nothing is written where nothing has changed"
    await follow_account(engine, pause(30), is_linked=True)
    assert 29 < (engine.pause_seconds_left() or 0) <= 30
    await follow_account(engine, None, is_linked=True)
    assert engine.may_start()
    assert not read_queue_state(engine.layout).paused


async def test_a_gateway_that_is_gone_ends_no_pause_and_its_time_does(engine: Engine) -> None:
    await follow_account(engine, pause(3.2), is_linked=True)
    await follow_account(engine, None, is_linked=False)
    assert not engine.may_start()
    engine.clock = engine.timers._clock = lambda: time.monotonic() + 4
    await end_quota_pause(engine)
    assert not engine.queue.paused


async def test_short_pauses_are_the_calls_own_to_wait_out(engine: Engine) -> None:
    await follow_account(engine, pause(2.9), is_linked=True)
    assert engine.may_start()
    await follow_account(engine, pause(-50), is_linked=False)
    assert engine.may_start()


async def test_a_persons_pause_is_not_shortened(engine: Engine) -> None:
    await pause_queue(engine, "paused by all.pause", token="a")
    await follow_account(engine, pause(60), is_linked=True)
    await follow_account(engine, None, is_linked=True)
    assert (engine.queue.paused, engine.queue.until, engine.queue.reason) == (True, None, "paused by all.pause")


async def test_a_person_may_pause_while_the_account_is_paused(engine: Engine) -> None:
    await follow_account(engine, pause(60), is_linked=True)
    await pause_queue(engine, "paused by all.pause", token="a")
    await follow_account(engine, pause(60), is_linked=True)
    await follow_account(engine, None, is_linked=True)
    assert (engine.queue.paused, engine.queue.until, engine.queue.kind) == (True, None, None)


async def test_an_attempts_limit_that_the_gateway_does_not_know_of_is_waited_out(engine: Engine) -> None:
    await pause_queue(engine, "the account's limits", until=utc_now() + timedelta(seconds=60), ref="p0.t0")
    await follow_account(engine, pause(20), is_linked=True)
    await follow_account(engine, None, is_linked=True)
    assert not engine.may_start()


async def test_who_was_deferred_at_the_account_s_limit_goes_on_with_it(engine: Engine) -> None:
    await follow_account(engine, pause(300), is_linked=True)
    await pause_queue(engine, "the account's limits", until=utc_now() + timedelta(seconds=300), ref="p0.t0")
    assert (engine.queue.kind, engine.queue.quota_refs) == ("rate_limit", ["p0.t0"])
    assert engine.queue.reason == "the API's rate_limit", "what the gateway said stands"
    assert read_queue_state(engine.layout) == engine.queue
    await follow_account(engine, None, is_linked=True)
    assert engine.may_start()


async def test_an_outage_lasts_while_the_api_is_looked_for(engine: Engine) -> None:
    said: list[str] = []
    engine.say = said.append
    await follow_account(engine, pause(4, "unreachable"), is_linked=True)
    assert (engine.pause_seconds_left() or 0) > 4 + engine.settings.api.connect_seconds
    await follow_account(engine, pause(-1, "unreachable"), is_linked=True)
    assert not engine.may_start()
    await follow_account(engine, pause(60, "unreachable"), is_linked=True)
    assert (engine.pause_seconds_left() or 0) > 60
    assert len(said) == 1, "not with each look"
    await follow_account(engine, pause(10), is_linked=True)
    assert engine.queue.kind == "rate_limit"
    await resume_queue(engine, "all.resume")
    assert engine.may_start()
