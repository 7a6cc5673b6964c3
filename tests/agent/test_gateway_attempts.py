"""Whole attempts behind a gateway: what runner, environment, log and result make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.attempts import SOURCE, Bench
from tests.support.gateway_double import TOKEN, GatewayDouble, an_entry
from tests.support.messages_double import calls, says
from tests.support.waiting import wait_until

from haikud.contracts.attempt import EventKind, FailureClass
from haikud.contracts.gateway import Purse, Refusal
from haikud.contracts.states import AttemptOutcome
from haikud.contracts.usage import UsageTotal

ASKS = {"credential": True}


@pytest.fixture
def gateway(bench: Bench) -> Iterator[GatewayDouble]:
    with GatewayDouble(bench.spool.root, [calls("bash", "toolu_1", command="true"), says("Done.")]) as double:
        yield double


def told(bench: Bench, gateway: GatewayDouble) -> UsageTotal:
    """The account's total; log and events must agree with it."""
    total = UsageTotal()
    for entry in gateway.entries:
        total = total.plus_entry(entry)
    lines = bench.log().splitlines()
    assert sum(int(line.split()[1]) for line in lines if line.startswith("tokens_used ")) == total.tokens_used
    events = [json.loads(line) for line in bench.paths.events.read_text().splitlines()]
    assert len([event for event in events if event["kind"] == EventKind.USAGE]) == total.requests
    assert TOKEN not in bench.log()
    assert TOKEN not in bench.paths.events.read_text()
    return total


def run(bench: Bench, gateway: GatewayDouble, script: str | None, **order: Any) -> Any:
    bench.order(script, gateway=gateway.place, with_worktree=False, **order)
    return bench.run(key=TOKEN)


def test_the_built_in_agent_needs_no_prices(bench: Bench, gateway: GatewayDouble):
    (bench.root / "genai_prices.py").write_text("raise RuntimeError('a quarter of a second is spent on prices')\n")
    role = {"tools": ["bash"], "model": "a-model-without-a-price"}
    bench.order(None, gateway=gateway.place, with_worktree=False, role=role)
    result = bench.run(key=TOKEN, PYTHONPATH=f"{bench.root}:{SOURCE}")
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.usage == told(bench, gateway)
    assert result.usage.requests == 2
    assert list(result.usage_by_model) == ["a-model-without-a-price"]


def test_a_command_agent_gets_a_token_and_its_costs_show_while_it_runs(bench: Bench, gateway: GatewayDouble):
    script = (
        'cd "$HAIKUD_OUT"; env; env > part; mv part seen; while [ ! -e go ]; do sleep 0.05; done; '
        'echo "$ANTHROPIC_API_KEY"'
    )
    bench.order(
        script, gateway=gateway.place, with_worktree=False, role=ASKS, set_environment={"HTTP_PROXY": "http://p"}
    )
    process = bench.start(key=TOKEN)
    seen = bench.wait_for("seen").read_text().splitlines()
    assert f"ANTHROPIC_API_KEY={TOKEN}" in seen
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:9" in seen
    assert "no_proxy=127.0.0.1" in seen
    gateway.entries.append(an_entry())
    wait_until(lambda: "tokens_used 1100" in bench.log(), what="the call to show in the log")
    gateway.entries.append(an_entry(model="another"))
    (bench.paths.out / "go").touch()
    assert process.wait(timeout=30) == 0
    result = bench.result()
    assert result.usage == told(bench, gateway)
    assert set(result.usage_by_model) == {"claude-haiku-5-5", "another"}
    assert "ANTHROPIC_API_KEY=[masked: API key]" in bench.log()
    assert result.summary == "[masked: API key]"


def test_an_agent_that_failed_for_want_of_money_asks_and_keeps_its_work(bench: Bench, gateway: GatewayDouble):
    gateway.entries.append(an_entry())
    gateway.refuse_for_budget(Purse.PLAN)
    result = run(bench, gateway, "echo 402; exit 1", role=ASKS)
    assert (result.outcome, result.failure_class) == (AttemptOutcome.EXITED_WITH_ERROR, FailureClass.BUDGET)
    assert result.budget_purse is Purse.PLAN
    assert "said by the gateway." in result.question.blocker
    assert "The agent's last words: 402" in result.question.context
    assert result.usage == told(bench, gateway)


def test_an_agent_that_failed_at_a_limit_is_not_to_blame(bench: Bench, gateway: GatewayDouble):
    gateway.refuse(Refusal.LIMIT, retry_after_seconds=77.0)
    result = run(bench, gateway, "exit 75", role=ASKS)
    assert result.outcome is AttemptOutcome.QUOTA
    assert (result.quota.status, result.quota.retry_after_seconds) == (429, 77.0)
    result = run(bench, gateway, "echo what now; exit 79", role=ASKS)
    assert (result.outcome, result.question.reason) == (AttemptOutcome.ESCALATED, "what now")


def test_refusals_that_were_not_the_end_of_it_count_for_nothing(bench: Bench, gateway: GatewayDouble):
    gateway.refuse_for_budget(Purse.TASK)
    result = run(bench, gateway, "exit 0", role=ASKS)
    assert result.outcome is AttemptOutcome.COMPLETED
    gateway.refuse_for_budget(Purse.TASK, seconds_ago=60)
    gateway.entries = [an_entry()]
    result = run(bench, gateway, "exit 1", role=ASKS)
    assert result.failure_class is FailureClass.PERMANENT


def test_a_result_says_that_the_gateway_could_not_be_asked(bench: Bench, gateway: GatewayDouble):
    gateway.closed = True
    result = run(bench, gateway, "exit 0", role=ASKS)
    assert result.outcome is AttemptOutcome.COMPLETED
    assert any("gateway could not be asked" in warning for warning in result.warnings)
