"""An API that cannot be reached: the account is paused, the gate looks for it, and calls go on when it is back."""

from __future__ import annotations

from aiohttp import ServerDisconnectedError
from tests.gateway.calls import MakeWorld

from haikud.gateway.waiting import SendAgain


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
    assert pause.reason == "the API cannot be reached (Connection refused)"
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


async def test_a_look_that_breaks_is_no_end_of_the_looking(made: MakeWorld) -> None:
    world = made()
    world.there, world.refused = False, ServerDisconnectedError()
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(None)
    await second.answer(None)
    await world.clock.go(7)
    assert world.probed_at == [2.0, 6.0]
    world.there = True
    await world.clock.go(8)
    assert world.gate.pause is None


async def test_connections_that_fail_now_and_then_are_no_outage(made: MakeWorld) -> None:
    world = made()
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(None)
    assert first.verdicts == [SendAgain(2.0)]
    await (await world.call("plan.c.1")).answer()
    await second.answer(None)
    assert (world.gate.pause, world.probed_at) == (None, [])
    await world.clock.go(2)
    assert len(first.sent_at) == len(second.sent_at) == 2


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
