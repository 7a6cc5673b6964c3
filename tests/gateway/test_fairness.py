"""Whatever happens at the gate: attempts take turns, bounds hold, and in the end nothing is left behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.calls import MadeCall, World
from tests.gateway.headers import limit_headers
from tests.support.hand_clock import settle

from haikud.contracts.settings import ApiSettings

ATTEMPTS = [f"plan.{name}.1" for name in "abcd"]
MAX_CALLS = 3

attempts = st.sampled_from(ATTEMPTS)


@dataclass(frozen=True)
class Step:
    """Something that happens; `pick` says to which call."""

    what: str
    attempt: str
    pick: int
    tokens: int
    seconds: float


steps = st.builds(
    Step,
    what=st.sampled_from(
        ["call"] * 6 + ["answer"] * 5 + ["limit", "overload", "refused", "low", "hang up", "wait", "resume"]
    ),
    attempt=attempts,
    pick=st.integers(0, 50),
    tokens=st.integers(0, 60_000),
    seconds=st.floats(0.0, 70.0),
)


async def do(world: World, step: Step) -> None:
    flying = [call for call in world.calls if call.is_under_way]
    open_calls = [call for call in world.calls if call.task is not None and not call.task.done()]
    if step.what == "call":
        await world.call(step.attempt, step.tokens)
    elif step.what == "wait":
        world.there = not world.there
        await world.clock.go(step.seconds)
    elif step.what == "resume":
        world.gate.resume()
        await settle()
    elif step.what == "hang up" and open_calls:
        await open_calls[step.pick % len(open_calls)].hang_up()
    elif flying:
        await tell(world, flying[step.pick % len(flying)], step)


async def tell(world: World, call: MadeCall, step: Step) -> None:
    if step.what == "answer":
        await call.answer()
    elif step.what == "limit":
        await call.answer(429, "rate_limit_error", end=False, retry_after=f"{step.seconds:.1f}")
    elif step.what == "overload":
        await call.answer(529, "overloaded_error", end=False)
    elif step.what == "refused":
        await call.answer(None, end=False)
    elif step.what == "low":
        told = limit_headers("requests", limit=50, remaining=step.pick % 5, seconds=step.seconds, clock=world.clock)
        await call.answer(**told)


async def play(what: list[Step]) -> None:
    world = World(ApiSettings.model_validate({"max_calls": MAX_CALLS}))
    try:
        for step in what:
            await do(world, step)
            assert world.gate.in_flight <= MAX_CALLS
            if not world.gate.waiting and world.gate.pause is None and not world.gate._probing:
                assert world.clock.pending == [], "nothing waits and nothing is paused: nothing may wake up"
        for _ in range(400):  # everybody answers from here on
            if not any(call.is_under_way for call in world.calls) and not world.gate.waiting:
                break
            for call in [call for call in world.calls if call.is_under_way]:
                await call.answer()
            await world.clock.go(1)
        else:
            raise AssertionError("somebody waits for ever")
        assert all(call.task is not None and call.task.done() for call in world.calls)
        assert all(call.turn.waited_seconds <= 61.1 for call in world.calls)
        assert (world.gate.in_flight, world.gate.waiting) == (0, 0)
        world.there = True
        await world.clock.go(86_400)
        assert world.gate.pause is None, "every pause ends by itself"
        assert world.clock.pending == []
    finally:
        await world.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_nobody_waits_for_ever_and_nothing_is_left(what: list[Step]) -> None:
    asyncio.run(play(what))


async def take_turns(calls: list[str]) -> list[str]:
    """Whose turn it is, one after the other, where all have been waiting and one call is made at a time."""
    world = World(ApiSettings.model_validate({"max_calls": 1}))
    try:
        before = await world.call("plan.before.1")
        waiting = [await world.call(attempt) for attempt in calls]
        await before.answer()
        for _ in calls:
            await next(one for one in waiting if one.is_under_way).answer()
    finally:
        await world.close()
    return [one.turn.attempt for one in sorted(waiting, key=lambda one: one.turn.order)]


@settings(max_examples=40, deadline=None)
@given(st.lists(attempts, min_size=1, max_size=30))
def test_no_attempt_waits_for_longer_than_a_round(calls: list[str]) -> None:
    order = asyncio.run(take_turns(calls))
    assert sorted(order) == sorted(calls)
    for attempt in set(calls):
        others = len(set(calls)) - 1
        turns = [-1, *(turn for turn, one in enumerate(order) if one == attempt)]
        assert all(later - earlier <= others + 1 for earlier, later in pairwise(turns)), order


async def test_one_attempt_with_fifty_calls_starves_nobody() -> None:
    world = World(ApiSettings.model_validate({"max_calls": 8}))
    try:
        greedy = [await world.call("plan.greedy.1") for _ in range(50)]
        others = [await world.call(f"plan.{name}.1") for name in "abc"]
        for call in greedy[:4]:
            await call.answer()
        assert all(call.is_sent for call in others), "each had its turn after one of the greedy one's"
        assert sum(call.is_sent for call in greedy) == 9
        assert [call.is_sent for call in greedy] == [True] * 9 + [False] * 41, "its own calls go in their order"
    finally:
        await world.close()
