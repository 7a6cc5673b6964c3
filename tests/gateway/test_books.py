"""The books: budgets hold for any sequence of calls, and across the death of whoever keeps them."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.gateway_process import a_token

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptToken, Purse
from haikud.contracts.usage import UsageEntry
from haikud.contracts.usage_journal import CallStep, JournalLine
from haikud.gateway.books import Books, Call
from haikud.spool.layout import GatewayPaths
from haikud.spool.models import dump_line
from haikud.spool.usage_journal import read_charges, used_by_attempt

LIMITS = {Purse.TASK: 0.05, Purse.PLAN: 0.08, Purse.DAY: 0.12}


def token(ref: str = "plan.one", attempt: int = 1, **changed: object) -> AttemptToken:
    limits = {f"{purse}_usd": usd for purse, usd in LIMITS.items()}
    return a_token(ref, attempt, **limits | changed)[1]


def cost(usd: float, *, estimated: bool = False) -> UsageEntry:
    return UsageEntry(at=utc_now(), model="scripted", input_tokens=1, cost_usd=usd, estimated=estimated)


@pytest.fixture
def paths(tmp_path: Path) -> GatewayPaths:
    (tmp_path / "gateway").mkdir()
    return GatewayPaths(tmp_path / "gateway")


def opened(paths: GatewayPaths) -> Books:
    books = Books(paths)
    books.open(utc_now())
    return books


async def test_a_reservation_counts_as_spent_until_its_call_has_ended(paths: GatewayPaths):
    books, one = opened(paths), token()
    call = await books.reserve(one, cost(0.04))
    assert call is not None
    assert await books.reserve(one, cost(0.02)) is None
    room = books.room(one, utc_now().date())
    assert (room.purse, room.usd) == (Purse.TASK, pytest.approx(0.01))
    assert room.usd_when_others_end == pytest.approx(0.05)
    books.use(call, cost(0.001))
    assert await books.reserve(one, cost(0.049)) is not None
    assert await books.reserve(one, cost(0.0005)) is None


async def test_plan_and_day_are_shared(paths: GatewayPaths):
    books = opened(paths)
    assert await books.reserve(token("p.one"), cost(0.05)) is not None
    assert await books.reserve(token("p.two"), cost(0.04)) is None
    assert books.room(token("p.two"), utc_now().date()).purse is Purse.PLAN
    assert await books.reserve(token("p.two"), cost(0.03)) is not None
    assert await books.reserve(token("q"), cost(0.05)) is None
    assert books.room(token("q"), utc_now().date()).purse is Purse.DAY
    assert await books.reserve(token("q"), cost(0.04)) is not None


async def test_whoever_takes_over_counts_an_unended_call_as_the_most(paths: GatewayPaths):
    killed, one = opened(paths), token()
    ended = await killed.reserve(one, cost(0.02))
    assert ended is not None
    killed.use(ended, cost(0.005))
    assert await killed.reserve(one, cost(0.03)) is not None  # and then it is killed
    books = Books(paths)
    assert books.open(utc_now()) == 1
    assert books.room(one, utc_now().date()).usd == pytest.approx(0.015)
    assert [entry.cost_usd for entry in books.account(one).entries] == [0.005, 0.03]
    assert Books(paths).open(utc_now()) == 0  # it was told once
    assert used_by_attempt(read_charges(paths), one.ref, 1).total.cost_usd == pytest.approx(0.035)


async def test_a_torn_tail_is_cut_before_anything_is_added(paths: GatewayPaths):
    books, one = opened(paths), token()
    call = await books.reserve(one, cost(0.01))
    assert call is not None
    books.close()
    file = paths.journal(utc_now().date())
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:40])
    again = Books(paths)
    assert again.open(utc_now()) == 1
    lines = file.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == ["reserved", "lost"]


async def test_a_journal_that_was_removed_is_begun_again(paths: GatewayPaths):
    books, one = opened(paths), token()
    assert await books.reserve(one, cost(0.01)) is not None
    shutil.rmtree(paths.usage)
    call = await books.reserve(one, cost(0.02))
    assert call is not None
    books.use(call, cost(0.015))
    assert books.room(one, utc_now().date()).usd == pytest.approx(0.025)  # what was lost on disk counts as before
    assert [charge.entry.cost_usd for charge in read_charges(paths)] == [0.015]


async def test_an_old_plan_is_read_from_the_day_it_was_admitted_on(paths: GatewayPaths):
    long_ago = utc_now() - timedelta(days=20)
    paths.usage.mkdir()
    line = JournalLine(
        step=CallStep.USED,
        call="a" * 24,
        at=long_ago,
        ref="plan.two",
        plan="plan",
        task="two",
        attempt=1,
        role="tester",
        entry=cost(0.07),
    )
    paths.journal(long_ago.date()).write_bytes(dump_line(line))
    books = opened(paths)
    assert books.room(token("plan.one"), utc_now().date()).usd == pytest.approx(0.05)
    old = token("plan.one", plan_since=long_ago)
    assert books.room(old, utc_now().date()).usd == pytest.approx(0.01)
    assert books.room(old, utc_now().date()).purse is Purse.PLAN


async def test_what_the_engine_knows_counts_where_the_journal_knows_less(paths: GatewayPaths):
    room = opened(paths).room(token(task_spent_usd=0.03, plan_spent_usd=0.079), utc_now().date())
    assert (room.purse, room.usd) == (Purse.PLAN, pytest.approx(0.001))


async def test_many_at_once_share_the_writes_to_disk(paths: GatewayPaths, monkeypatch: pytest.MonkeyPatch):
    books, one = opened(paths), token(task_usd=9, plan_usd=9, day_usd=9)
    syncs, real = [], books._writer.sync
    monkeypatch.setattr(books._writer, "sync", lambda: (syncs.append(1), real()))
    calls = await asyncio.gather(*(books.reserve(one, cost(0.01)) for _ in range(50)))
    assert all(calls)
    assert len(syncs) <= 3
    assert books.in_flight(one) == 50


async def test_a_call_that_cannot_be_noted_is_not_made(paths: GatewayPaths, monkeypatch: pytest.MonkeyPatch):
    books, one = opened(paths), token()

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(books._writer, "sync", refuse)
    with pytest.raises(OSError, match="No space"):
        await books.reserve(one, cost(0.05))
    assert books.room(one, utc_now().date()).usd == pytest.approx(0.05)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "use", "release", "kill"]),
        st.sampled_from(["p.one", "p.two", "q"]),
        st.floats(0.0001, 0.06),
        st.floats(0, 1),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_no_budget_is_ever_crossed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, float, float]]
):
    folder = tmp_path_factory.mktemp("spool") / "gateway"
    folder.mkdir()
    asyncio.run(_play(GatewayPaths(folder), steps))


async def _play(paths: GatewayPaths, steps: list[tuple[str, str, float, float]]) -> None:
    books, tokens = opened(paths), {ref: token(ref) for ref in ("p.one", "p.two", "q")}
    true_cost: dict[str, float] = dict.fromkeys(tokens, 0.0)
    open_calls: list[Call] = []
    for step, ref, usd, share in steps:
        if step == "reserve":
            call = await books.reserve(tokens[ref], cost(usd))
            open_calls += [call] if call else []
        elif step == "kill":  # the API goes on counting what was under way
            for call in open_calls:
                true_cost[call.token.ref] += call.most.cost_usd * share
            open_calls, books = [], opened(paths)
        elif open_calls:
            call = open_calls.pop(int(share * (len(open_calls) - 1)))
            if step == "use":
                books.use(call, cost(call.most.cost_usd * share))
                true_cost[call.token.ref] += call.most.cost_usd * share
            else:
                books.release(call)
        most = {ref: true_cost[ref] + sum(c.most.cost_usd for c in open_calls if c.token.ref == ref) for ref in tokens}
        assert all(usd <= LIMITS[Purse.TASK] + 1e-9 for usd in most.values())
        assert most["p.one"] + most["p.two"] <= LIMITS[Purse.PLAN] + 1e-9
        assert sum(most.values()) <= LIMITS[Purse.DAY] + 1e-9
    journal = sum(charge.entry.cost_usd for charge in read_charges(paths))
    reserved = sum(call.most.cost_usd for call in open_calls)
    assert journal == pytest.approx(books.spent_on(utc_now().date()) + reserved)
    assert journal >= sum(true_cost.values()) - 1e-9
