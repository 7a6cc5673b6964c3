"""`haikud cost`: the journal by plan, day, role and model; the guide's block of one plan."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests.interfaces.conftest import FakeSpool, on_terminal
from tests.support.guides_costs import AGENTS, MODEL, NOW, Room, guides_request
from tests.support.repository import make_repository

from haikud.contracts.usage import UsageEntry
from haikud.contracts.usage_journal import CallStep, JournalLine
from haikud.costs.prices import PriceList
from haikud.spool.layout import SpoolLayout
from haikud.spool.usage_journal import JournalWriter

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
EXECUTOR, TESTER = "parallel-task-executor", "test-runner"
FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


class Journal:
    """Writes as the gateway does."""

    def __init__(self, layout: SpoolLayout) -> None:
        self._writer = JournalWriter(layout.gateway)
        layout.gateway.folder.mkdir(exist_ok=True)
        self._calls = 0

    def call(self, ref: str, usd: float, *, day: date = FIRST, step: CallStep = CallStep.USED, **more: Any) -> None:
        """A call and how it ended, with 1000 tokens in and 100 out; `reserved`: it has not."""
        self._calls += 1
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        plan, _, task = ref.partition(".")
        role, attempt = more.pop("role", EXECUTOR), more.pop("attempt", 1)
        fields = {"model": HAIKU, "input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 100, **more}
        entry = more.pop("entry", None) or UsageEntry(at=at, cost_usd=usd, sonnet_cost_usd=usd * 10, **fields)
        most = UsageEntry(at=at, model=entry.model, cost_usd=1.0, estimated=True)
        ends = [] if step is CallStep.RESERVED else [(step, None if step is CallStep.RELEASED else entry)]
        for what, told in [(CallStep.RESERVED, most), *ends]:
            line = JournalLine(
                step=what,
                call=f"c{self._calls}",
                at=at,
                ref=ref,
                plan=plan,
                task=task or plan,
                attempt=attempt,
                role=role,
                entry=told,
            )
            self._writer.append(line, day)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def journal(spool: FakeSpool) -> Iterator[Journal]:
    made = Journal(spool.layout)
    yield made
    made.close()


@pytest.fixture
def busy(spool: FakeSpool, journal: Journal) -> FakeSpool:
    spool.admit("big", "succeeded", "running")
    journal.call("big.t1", 0.25)
    journal.call("big.t1", 0.125, day=SECOND, step=CallStep.LOST, estimated=True)
    journal.call("big.t2", 0.5, day=SECOND, role=TESTER, model=SONNET)
    journal.call("big.t2", 0.1, day=SECOND, step=CallStep.RESERVED)
    journal.call("gone", 0.001)
    journal.call("gone", 9.0, step=CallStep.RELEASED)
    return spool


def shown(spool: FakeSpool, *args: str) -> str:
    done = spool.run("cost", *args)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(spool: FakeSpool, *args: str) -> dict[str, Any]:
    document = json.loads(shown(spool, "--json", *args))
    assert isinstance(document, dict)
    return document


def test_tables_by_plan_day_role_and_model_in_a_pipe(busy: FakeSpool):
    assert shown(busy) == (
        "Model calls so far\n"
        "\n"
        "by plan  calls  input  output     cost  estimated  all Sonnet  saved\n"
        "big          3  3,000     300   $0.875     $0.125      $8.750  90.0%\n"
        "gone         1  1,000     100  $0.0010          -      $0.010  90.0%\n"
        "\n"
        "by day      calls  input  output    cost  estimated  all Sonnet  saved\n"
        "2026-11-01      2  2,000     200  $0.251          -      $2.510  90.0%\n"
        "2026-11-02      2  2,000     200  $0.625     $0.125      $6.250  90.0%\n"
        "\n"
        "by role                 calls  input  output    cost  estimated  all Sonnet  saved\n"
        "test-runner                 1  1,000     100  $0.500          -      $5.000  90.0%\n"
        "parallel-task-executor      3  3,000     300  $0.376     $0.125      $3.760  90.0%\n"
        "\n"
        "by model           calls  input  output    cost  estimated  all Sonnet  saved\n"
        "claude-sonnet-5-5      1  1,000     100  $0.500          -      $5.000  90.0%\n"
        "claude-haiku-5-5       3  3,000     300  $0.376     $0.125      $3.760  90.0%\n"
        "total                  4  4,000     400  $0.876     $0.125      $8.760  90.0%\n"
        "of which estimated: $0.125 (calls that were cut or lost)\n"
        "under way: 1 call, at most $1.000 more\n"
    )


def test_the_same_for_programs(busy: FakeSpool):
    found = told(busy)
    assert list(found) == ["has_journal", "since", "total", "plans", "days", "roles", "models"]
    assert (found["has_journal"], found["since"]) == (True, None)
    assert found["total"] == {
        "calls": 4,
        "input_tokens": 4000,
        "output_tokens": 400,
        "cost_usd": 0.876,
        "estimated_usd": 0.125,
        "if_all_sonnet": 8.76,
        "savings_usd": 7.884,
        "savings_percent": 90.0,
        "calls_under_way": 1,
        "under_way_usd": 1.0,
    }
    assert [row["plan"] for row in found["plans"]] == ["big", "gone"]
    assert [(row["day"], row["cost_usd"]) for row in found["days"]] == [("2026-11-01", 0.251), ("2026-11-02", 0.625)]
    for rows in ("plans", "days", "roles", "models"):
        assert sum(row["cost_usd"] for row in found[rows]) == 0.876


def test_since_a_day(busy: FakeSpool):
    since = told(busy, "--since", "2026-11-02")
    assert (since["since"], since["total"]["cost_usd"]) == ("2026-11-02", 0.625)
    assert [row["plan"] for row in since["plans"]] == ["big"]
    assert shown(busy, "--since", "2026-11-03") == "No model call since 2026-11-03 (UTC).\n"
    assert told(busy, "big", "--since", "2026-11-02")["agent_costs"]["total_cost"] == 0.625


def test_since_so_long_ago(spool: FakeSpool, journal: Journal):
    today = datetime.now(tz=UTC).date()
    for days in range(0, 21, 5):
        journal.call("p", 0.5, day=today - timedelta(days=days))
    calls = {day: told(spool, "--since", day)["total"]["calls"] for day in ("today", "yesterday", "5d", "2w", "99999d")}
    assert calls == {"today": 1, "yesterday": 1, "5d": 2, "2w": 3, "99999d": 5}


@pytest.mark.parametrize("day", ["", "7", "d", "-1d", "2026-13-01", "tomorrow", "999999w"])
def test_a_day_that_is_none_is_a_usage_error(busy: FakeSpool, day: str):
    done = busy.run("cost", "--since", day)
    assert done.exit_code == 2
    assert "is no day; write 2026-11-01, 7d" in done.stderr


def test_a_spool_without_a_journal_says_so(spool: FakeSpool):
    assert "There is no journal of model calls" in shown(spool)
    assert told(spool)["has_journal"] is False


def test_a_plan_and_a_task_have_the_guides_block(busy: FakeSpool):
    whole = told(busy, "big")
    block = whole.pop("agent_costs")
    assert whole == {
        "id": "big",
        "final": False,
        "pruned": False,
        "since": None,
        "estimated_usd": 0.125,
        "calls": 3,
        "calls_under_way": 1,
        "under_way_usd": 1.0,
    }
    assert block == {
        "haiku_agent_1": {
            "model": HAIKU,
            "task": "Do t1",
            "input_tokens": 2000,
            "output_tokens": 200,
            "cost_usd": 0.375,
        },
        "sonnet_agent_1": {
            "model": SONNET,
            "task": "Do t2",
            "input_tokens": 1000,
            "output_tokens": 100,
            "cost_usd": 0.5,
        },
        "total_cost": 0.875,
        "comparison": {"if_all_sonnet": 8.75, "savings_usd": 7.875, "savings_percent": 90.0},
    }
    assert shown(busy, "big") == (
        "big, so far\n"
        "agent           model              task   input  output    cost\n"
        "haiku_agent_1   claude-haiku-5-5   Do t1  2,000     200  $0.375\n"
        "sonnet_agent_1  claude-sonnet-5-5  Do t2  1,000     100  $0.500\n"
        "total                                                    $0.875\n"
        "$8.750 if all Sonnet: $7.875 or 90.0% saved\n"
        "of which estimated: $0.125 (calls that were cut or lost)\n"
        "under way: 1 call, at most $1.000 more\n"
    )
    assert told(busy, "big.t1")["agent_costs"]["total_cost"] == 0.375


def test_a_pruned_plan_still_shows(busy: FakeSpool):
    (busy.layout.pruned).mkdir(exist_ok=True)
    (busy.layout.pruned / "gone").write_text("{}")
    assert shown(busy, "gone").startswith("gone (pruned)\n")
    (busy.layout.pruned / "older").write_text("{}")
    done = busy.run("cost", "older")
    assert (done.exit_code, "was pruned, and the journal has no call of it" in done.stderr) == (1, True)


def test_what_nobody_knows_is_said(busy: FakeSpool):
    assert "knows nothing of nonesuch" in busy.run("cost", "nonesuch").stderr
    assert "has no task big.t9" in busy.run("cost", "big.t9").stderr
    busy.response("refused", "rejected")
    assert "it has cost nothing" in busy.run("cost", "refused").stderr


def test_on_a_terminal_a_name_cannot_write_to_it(busy: FakeSpool, journal: Journal):
    journal.call("odd", 0.5, role="evil\x1b[2Jrole", model="m[red]x")
    code, text = on_terminal(busy, "cost")
    assert code == 0
    assert "\x1b[2J" not in text
    for word in ("by plan", "by day", "evil\\x1b[2Jrole", "m[red]x", "$0.125", "total"):
        assert word in text


def test_the_guides_example_through_the_command(tmp_path: Path):
    """One task's calls are in the journal; the other ran before there was one, and counts by its own result."""
    room = Room(tmp_path)
    with mock.patch.object(os, "fsync"):
        plan = room.admit(guides_request(make_repository(tmp_path / "project")))
        room.settle(plan, "auth", AGENTS["auth"][1:])
        room.settle(plan, "dashboard", AGENTS["dashboard"][1:])
    spool = FakeSpool(room.layout.root)
    answered = json.loads((room.layout.responses / "p.json").read_bytes())["payload"]["agent_costs"]
    assert told(spool, "p")["agent_costs"] == answered
    journal = Journal(room.layout)
    title, given, out = AGENTS["auth"]
    for part in (given - 10_000, 10_000):
        usage = {"input_tokens": part, "output_tokens": out // 2}
        entry = PriceList.of(room.settings).price_message(MODEL, usage, NOW)
        journal.call("p.auth", 0, entry=entry, model=MODEL)
    journal.close()
    assert told(spool, "p")["agent_costs"] == answered
    assert shown(spool, "p") == (
        "p\n"
        "agent          model             task                  input  output    cost\n"
        "main_agent     sonnet                                 10,000   2,000  $0.060\n"
        f"haiku_agent_1  claude-haiku-4-5  {title}  30,000   5,000  $0.044\n"
        "haiku_agent_2  claude-haiku-4-5  Implement dashboard  32,000   5,500  $0.048\n"
        "total                                                                 $0.152\n"
        "$0.404 if all Sonnet: $0.252 or 62.4% saved\n"
    )
    assert "main_agent" not in told(spool, "p.auth")["agent_costs"]
    shutil.rmtree(room.layout.plan("p").folder)
    room.layout.pruned.mkdir(exist_ok=True)
    (room.layout.pruned / "p").write_text("{}")
    assert told(spool, "p")["agent_costs"]["total_cost"] == 0.044
