"""The gate: one pause for all, one call first, each attempt in its turn; by a clock that goes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.gateway.calls import World
from tests.support.hand_clock import settle

from haikud.contracts.settings import ApiSettings
from haikud.gateway.waiting import PassOn, SendAgain

MakeWorld = Callable[..., World]


@pytest.fixture
async def made() -> AsyncIterator[MakeWorld]:
    worlds = []

    def make(**api: Any) -> World:
        worlds.append(World(ApiSettings.model_validate(api)))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()


async def test_without_limits_calls_go_at_once_and_nothing_wakes_up(made: MakeWorld) -> None:
    world = made()
    calls = [await world.call(f"plan.t{n % 3}.1") for n in range(12)]
    assert all(call.is_sent for call in calls)
    assert {call.turn.waited_seconds for call in calls} == {0.0}
    assert world.clock.pending == []
    for call in calls:
        await call.answer()
    assert (world.gate.in_flight, world.gate.waiting, world.changes) == (0, 0, 0)


async def test_a_429_pauses_all_attempts_once_and_ends_by_itself(made: MakeWorld) -> None:
    world = made()
    flying = [await world.call(f"plan.t{n}.1") for n in range(3)]
    streaming = await world.call("plan.t9.1")
    await streaming.answer(end=False)
    for call in flying:
        await call.answer(429, "rate_limit_error", retry_after="20")
    assert world.changes == 1, "several calls that meet the same limit make one pause"
    pause = world.gate.pause
    assert pause is not None
    assert (pause.kind, pause.until.isoformat()) == ("rate_limit", "2026-11-23T12:00:20+00:00")
    assert pause.reason == "the API's rate limit (429 rate_limit_error): it asks to wait 20 s; goes on at 12:00:20 UTC"
    assert [call.verdicts for call in flying] == [[SendAgain(20.0)]] * 3
    late = await world.call("plan.t5.1")
    assert streaming.is_under_way, "calls in flight go on"
    await world.clock.go(19)
    assert not late.is_sent
    assert all(len(call.sent_at) == 1 for call in flying)
    await world.clock.go(1)
    assert world.gate.pause is None
    assert world.changes == 2
    again = [call for call in (*flying, late) if call.sent_at and call.sent_at[-1] == 1020.0]
    assert len(again) == 1, "the first call after a pause goes alone"
    await again[0].answer()
    assert all(call.sent_at[-1] == 1020.0 for call in (*flying, late))
    assert flying[0].turn.waited_seconds == 20.0


async def test_a_pause_nobody_waits_for_needs_one_timer(made: MakeWorld) -> None:
    world = made()
    call = await world.call()
    await call.answer(429, "rate_limit_error", retry_after="90")
    assert call.verdicts == [PassOn(90.0)]
    assert world.clock.pending == [90.0]
    await world.clock.go(90)
    assert (world.clock.rung, world.changes, world.gate.pause) == (1, 2, None)
    assert world.clock.pending == []


async def test_a_pause_longer_than_a_call_may_wait_is_answered_at_once(made: MakeWorld) -> None:
    world = made()
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(429, "rate_limit_error", retry_after="10")
    waiting = await world.call("plan.c.1")
    await second.answer(429, "rate_limit_error", retry_after="300")
    assert waiting.held is not None
    assert (waiting.held.kind, waiting.held.retry_after_seconds) == ("rate_limit", 300.0)
    assert first.held is not None
    late = await world.call("plan.d.1")
    assert late.held is not None
    assert world.changes == 2
    assert world.gate.waiting == world.gate.in_flight == 0


async def test_a_person_who_says_go_on_ends_the_pause(made: MakeWorld) -> None:
    world = made()
    call = await world.call()
    await call.answer(402, "billing_error")
    assert call.verdicts == [PassOn(300.0)]
    assert world.gate.pause is not None
    assert world.gate.pause.kind == "billing"
    assert (await world.call()).held is not None
    world.gate.resume()
    assert world.gate.pause is None
    assert (await world.call()).is_sent
    assert world.changes == 2


async def test_who_hangs_up_while_waiting_leaves_nothing_and_wakes_the_next(made: MakeWorld) -> None:
    world = made(max_calls=1)
    flying, waiting, last = [await world.call(f"plan.{name}.1") for name in "abc"]
    assert not waiting.is_sent
    assert not last.is_sent
    await waiting.hang_up()
    assert world.gate.waiting == 1
    await flying.hang_up()
    assert last.is_sent
    await last.answer()
    assert (world.gate.in_flight, world.gate.waiting, world.clock.pending) == (0, 0, [])


async def test_who_hangs_up_just_when_its_turn_comes_hands_it_on(made: MakeWorld) -> None:
    world = made(max_calls=1)
    flying, waiting, last = [await world.call(f"plan.{name}.1") for name in "abc"]
    assert waiting.task is not None
    flying.over.set()
    flying.cue.put_nowait((200, {}, None))
    for _ in range(20):
        if waiting.is_under_way:
            break
        await asyncio.sleep(0)
    waiting.task.cancel()
    await settle()
    assert not waiting.sent_at
    assert last.is_sent


async def test_an_outage_pauses_the_account_and_its_end_is_found(made: MakeWorld) -> None:
    world = made()
    world.there = False
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(None)
    assert world.gate.pause is None, "one failed connection is none of the account's"
    await second.answer(None)
    pause = world.gate.pause
    assert pause is not None
    assert pause.kind == "unreachable"
    assert "ConnectionRefusedError" in pause.reason
    assert "looked for again at 12:00:02 UTC" in pause.reason
    await world.clock.go(40)
    assert world.probed_at == [2.0, 6.0, 14.0, 30.0]
    assert world.changes == 5, "the pause's end moves with each look"
    world.there = True
    await world.clock.go(22)
    assert world.probed_at[-1] == 62.0
    assert world.gate.pause is None
    assert first.held is not None, "nobody waits for longer than api.quota_wait_seconds"
    assert first.held.kind == "unreachable"
    assert world.clock.pending == []


async def test_calls_go_on_when_the_api_is_back(made: MakeWorld) -> None:
    world = made()
    world.there = False
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(None)
    await second.answer(None)
    await world.clock.go(3)
    world.there = True
    await world.clock.go(3)
    assert world.gate.pause is None
    assert sorted(len(call.sent_at) for call in (first, second)) == [1, 2]
    await max(first, second, key=lambda call: len(call.sent_at)).answer()
    assert first.sent_at == second.sent_at == [1000.0, 1006.0]
