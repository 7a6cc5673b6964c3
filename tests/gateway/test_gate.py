"""The gate: one pause for all, one call first, each attempt in its turn; by a clock that goes by hand."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

from tests.gateway.calls import MakeWorld
from tests.gateway.headers import limit_headers
from tests.support.hand_clock import settle

from haikud.gateway.waiting import PassOn, SendAgain


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
    assert pause.reason == "the API's rate limit (429 rate_limit_error): it asks to wait 20 s"
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
    assert waiting.held.reason.endswith("it asks to wait 300 s; goes on at 12:05:00 UTC")
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


async def test_an_overload_pauses_all_only_when_it_comes_twice_in_a_row(made: MakeWorld) -> None:
    world = made()
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(529, "overloaded_error")
    assert world.gate.pause is None
    assert first.verdicts == [SendAgain(2.0)]
    third = await world.call("plan.a.1")
    assert third.is_sent, "only the call that met it waits"
    await third.answer()
    await second.answer(529, "overloaded_error")
    assert world.gate.pause is None, "an answer came in between"
    await world.clock.go(1)
    await (await world.call("plan.c.1")).answer(529, "overloaded_error")
    assert world.gate.pause is not None
    assert (world.gate.pause.kind, world.changes) == ("overloaded", 1)
    await world.clock.go(1)
    assert len(first.sent_at) == len(second.sent_at) == 1, "the pause holds for those too"
    await world.clock.go(1)
    assert sum(call.sent_at[-1] == 1003.0 for call in world.calls) == 1


async def test_one_call_is_sent_again_only_so_often(made: MakeWorld) -> None:
    world = made()
    call = await world.call()
    for seconds in (2, 4, 8):
        await call.answer(529, "overloaded_error", end=False)
        await world.clock.go(seconds)
    await call.answer(529, "overloaded_error")
    assert call.verdicts == [SendAgain(2.0), SendAgain(4.0), SendAgain(8.0), PassOn(300.0)]
    assert [time - 1000 for time in call.sent_at] == [0, 2, 6, 14]
    assert world.gate.pause is not None, "as long as the API does not say how long: api.quota_pause_seconds"


async def test_a_429_that_says_nothing_is_waited_out_longer_each_time(made: MakeWorld) -> None:
    world = made(retry_waits=[1.0], quota_tries=3)
    call = await world.call()
    for seconds in (1, 2):
        await call.answer(429, "rate_limit_error", end=False)
        assert world.gate.pause is not None
        await world.clock.go(seconds)
    await call.answer(429, "rate_limit_error")
    assert call.verdicts == [SendAgain(1.0), SendAgain(2.0), PassOn(300.0)]


async def test_waits_add_up_to_what_a_call_may_wait(made: MakeWorld) -> None:
    world = made()
    call = await world.call()
    await call.answer(429, "rate_limit_error", end=False, retry_after="40")
    await world.clock.go(40)
    await call.answer(429, "rate_limit_error", retry_after="40")
    assert call.verdicts == [SendAgain(40.0), PassOn(40.0)]


async def test_a_shorter_retry_after_does_not_shorten_the_pause(made: MakeWorld) -> None:
    world = made()
    first, second, third = [await world.call(f"plan.{name}.1") for name in "abc"]
    await first.answer(429, retry_after="20")
    await second.answer(429, retry_after="5")
    assert second.verdicts == [SendAgain(20.0)]
    await third.answer(429, retry_after="50")
    assert world.gate.pause is not None
    assert world.gate.pause.until == world.clock.wall() + timedelta(seconds=50)
    assert world.changes == 2


async def test_a_billing_stop_does_not_shorten_a_longer_pause(made: MakeWorld) -> None:
    world = made(quota_pause_seconds=30)
    first, second = await world.call("plan.a.1"), await world.call("plan.b.1")
    await first.answer(429, retry_after="50")
    await second.answer(402, "billing_error")
    assert world.gate.pause is not None
    assert (world.gate.pause.kind, world.gate.pause.until) == ("billing", world.clock.wall() + timedelta(seconds=50))
    assert first.held is not None, "money does not come back within a minute: answered at once"


async def test_who_is_sent_again_keeps_its_place(made: MakeWorld) -> None:
    world = made(max_calls=1)
    first = await world.call("plan.a.1")
    later = [await world.call("plan.a.1") for _ in range(3)]
    await first.answer(429, retry_after="5", end=False)
    await world.clock.go(5)
    assert len(first.sent_at) == 2
    assert not any(call.sent_at for call in later)


async def test_a_limit_that_is_heard_while_the_api_is_looked_for_holds(made: MakeWorld) -> None:
    world = made()
    found = asyncio.Event()

    async def look() -> bool:
        return await found.wait()

    world.gate._reachable = look
    first, second, third = [await world.call(f"plan.{name}.1") for name in "abc"]
    await first.answer(None)
    await second.answer(None)
    await world.clock.go(2)
    await third.answer(429, retry_after="20")
    found.set()
    await world.clock.go(19)
    assert world.gate.pause is not None, "what was found out for another pause does not end this one"
    await world.clock.go(1)
    assert world.gate.pause is None


async def test_an_answerless_first_call_hands_its_place_on(made: MakeWorld) -> None:
    world = made()
    call = await world.call("plan.a.1")
    await call.answer(429, retry_after="5")
    second, third = await world.call("plan.b.1"), await world.call("plan.c.1")
    await world.clock.go(5)
    going = [one for one in world.calls if one.sent_at[-1:] == [1005.0]]
    assert len(going) == 1
    await going[0].hang_up()
    going = [one for one in world.calls if one.sent_at[-1:] == [1005.0] and one.is_under_way]
    assert len(going) == 1, "one goes alone, still"
    await world.clock.go(10)
    assert all(len(one.sent_at) for one in (second, third)), "an answer that takes long does not hold the others up"


async def test_an_answer_that_takes_long_lets_all_follow_when_it_comes(made: MakeWorld) -> None:
    world = made(quota_wait_seconds=300)
    await (await world.call("plan.z.1")).answer(429, retry_after="5")
    calls = [await world.call(f"plan.t{number}.1") for number in range(5)]
    await world.clock.go(5 + 12)
    assert sum(call.is_sent for call in calls) == 1, "one every ten seconds, and z's own"
    await next(call for call in world.calls if call.sent_at[-1:] == [1005.0]).answer()
    assert all(call.is_sent for call in calls)


async def test_after_each_pause_for_a_limit_fewer_calls_go_at_once(made: MakeWorld) -> None:
    world = made(max_calls=16)
    calls = [await world.call(f"plan.t{number}.1") for number in range(16)]
    unheard = []
    for _ in range(3):
        flying = [call for call in calls if call.is_under_way]
        for call in flying:
            await call.answer(429, retry_after="1", end=False)
        await world.clock.go(1)
        first = next(call for call in calls if call.is_under_way)
        await first.answer(end=False)
        calls.remove(first)
        unheard.append(sum(call.is_under_way for call in calls))
    assert unheard == [8, 4, 2]
    world.gate.resume()
    await world.clock.go(1)
    assert all(call.is_under_way for call in calls), "a person's word lets all go"


async def test_a_clock_that_is_set_changes_no_wait(made: MakeWorld) -> None:
    world = made()
    call = await world.call()
    await call.answer(429, retry_after="20")
    world.clock.jump(-86_400)
    await world.clock.go(19)
    assert len(call.sent_at) == 1
    await world.clock.go(1)
    assert len(call.sent_at) == 2


async def test_low_limits_space_calls_and_never_refuse_them(made: MakeWorld) -> None:
    world = made(quota_wait_seconds=30)
    limits = limit_headers("requests", limit=100, remaining=4, seconds=48, clock=world.clock)
    await (await world.call()).answer(**limits)
    calls = [await world.call(f"plan.{name}.1") for name in "abcdef"]
    await world.clock.go(60)
    times = sorted(call.sent_at[0] - 1000 for call in calls)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > 0.2 for gap in gaps), "not in a burst"
    assert times[-1] <= 30
    assert world.gate.pause is None
    assert world.changes == 0


async def test_a_call_that_needs_more_than_is_left_waits_until_it_is_there(made: MakeWorld) -> None:
    world = made()
    await (await world.call("plan.z.1")).answer(
        **limit_headers("input-tokens", limit=50_000, remaining=20_000, seconds=30, clock=world.clock)
    )
    large, small, other = [
        await world.call("plan.a.1", 30_000),
        await world.call("plan.b.1", 1_000),
        await world.call("plan.c.1", 30_000, "sonnet"),
    ]
    assert other.is_sent, "each model has limits of its own"
    assert not small.is_sent, "it does not overtake: the large one would starve"
    await world.clock.go(10)
    assert large.is_sent
    huge = await world.call("plan.d.1", 500_000)
    await world.clock.go(20)
    assert huge.is_sent, "no wait is longer than the reset"


async def test_what_the_cache_holds_is_not_waited_for(made: MakeWorld) -> None:
    world = made()
    limits = limit_headers("input-tokens", limit=50_000, remaining=5_000, seconds=54, clock=world.clock)
    await (await world.call("plan.a.1", 40_000)).answer(**limits)
    assert (await world.call("plan.a.1", 41_000)).is_sent
    assert not (await world.call("plan.b.1", 41_000)).is_sent


async def test_too_many_calls_at_once_wait_and_are_told_so_in_the_end(made: MakeWorld) -> None:
    world = made(max_calls=2)
    calls = [await world.call(f"plan.{name}.1") for name in "abc"]
    assert [call.is_sent for call in calls] == [True, True, False]
    await world.clock.go(60)
    held = calls[2].held
    assert held is not None
    assert (held.kind, world.gate.pause) == ("busy", None)
    assert "api.max_calls" in held.reason


async def test_without_patience_limits_are_answered_at_once(made: MakeWorld) -> None:
    world = made(quota_wait_seconds=0)
    call = await world.call()
    await call.answer(429, retry_after="5")
    assert call.verdicts == [PassOn(5.0)]
    assert (await world.call()).held is not None
    await world.clock.go(5)
    assert (await world.call()).is_sent
