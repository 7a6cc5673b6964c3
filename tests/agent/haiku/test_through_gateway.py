"""The built-in agent behind the gateway: usage is what the gateway says, refusals are obeyed, its deaths outlived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway_double import SOCKET, TOKEN, GatewayDouble, an_entry, refuses
from tests.support.messages_double import Step, calls, says

from haikud.agent.charges import Charges
from haikud.agent.gateway_account import AccountClosed, GatewayAccount, GatewayAway
from haikud.agent.haiku.session import HaikuEnd
from haikud.contracts.attempt import FailureClass
from haikud.contracts.gateway import Purse
from haikud.contracts.transcript import LineKind
from haikud.contracts.usage import UsageTotal
from haikud.spool.spending import spent_by_transcript

API = "http://api.example"


def account_of(desk: Any, spool: Path) -> GatewayAccount:
    order = desk.order(API)
    return GatewayAccount(spool, SOCKET, TOKEN, Charges(order.log, order.events))


def run(
    desk: Any, steps: Sequence[Step], *, spool: Path | None = None, **changes: Any
) -> tuple[HaikuEnd, GatewayDouble]:
    """One attempt; log, events and end must agree with the account, and nothing may hold the token."""
    spool = spool or desk.folder / "spool"
    bend = changes.pop("bend", lambda _gateway: None)
    with GatewayDouble(spool, steps) as gateway:
        bend(gateway)
        account = account_of(desk, spool)
        end = desk.run(API, api_key=TOKEN, account=account, **changes)
        assert account.finish(2.0)
        account.close()
    total = UsageTotal()
    for entry in gateway.entries:
        total = total.plus_entry(entry)
    assert account.charges.total == total
    assert desk.tokens_logged() == total.tokens_used
    assert len(desk.events("usage")) == len(gateway.entries) if gateway.entries else True
    for path in ("agent.log", "events.jsonl", "transcript.jsonl"):
        if (desk.folder / path).exists():
            assert TOKEN not in (desk.folder / path).read_text()
    assert TOKEN not in str(end)
    return end, gateway


def test_a_session_is_charged_as_the_gateway_says_and_knows_no_price(desk):
    steps = [calls("bash", "toolu_1", command="true"), says("Done.")]
    end, gateway = run(desk, steps, role={"model": "a-model-without-a-price"})
    assert (end.kind, end.summary) == ("done", "Done.")
    assert end.usage.cost_usd == pytest.approx(0.02)
    assert end.usage_by_model == {"a-model-without-a-price": end.usage}
    assert gateway.journal[0].body["max_tokens"] == 16_000
    lines = desk.transcript()
    assert LineKind.CALL not in {line.kind for line in lines}
    assert [line.usage for line in lines if line.kind is LineKind.ASSISTANT] == gateway.entries
    assert spent_by_transcript(desk.folder / "transcript.jsonl", desk.attempts)[0] == end.usage
    assert gateway.asked == [0, 1]


def test_what_broke_is_charged_as_the_gateway_says(desk):
    cut = says("x" * 300, broken="cut", events=4, usage={"input_tokens": 700, "output_tokens": 400})
    end, gateway = run(desk, [cut, says("Done.")])
    assert end.usage.requests == 2
    assert [event["usage"]["estimated"] for event in desk.events("usage")] == [True, False]
    assert [line.kind for line in desk.transcript() if line.usage] == [LineKind.PAID, LineKind.ASSISTANT]
    assert gateway.asked == [0, 1]


def test_a_gateway_that_is_away_is_asked_again_after_the_next_call(desk):
    steps = [calls("bash", "toolu_1", command="true"), says("Done.")]
    end, gateway = run(desk, steps, bend=lambda gateway: setattr(gateway, "away", 1))
    assert (end.kind, end.usage.requests) == ("done", 2)
    assert gateway.asked == [0, 0]
    turns = [line for line in desk.transcript() if line.kind is LineKind.ASSISTANT]
    assert [turn.usage for turn in turns] == [None, gateway.entries[1]]
    assert spent_by_transcript(desk.folder / "transcript.jsonl", desk.attempts)[0] == end.usage


def test_a_call_that_a_dead_gateway_lost_is_charged_with_the_next(desk):
    """The one that was started again says so; the turn's own entry is the turn's, whatever the order."""
    lost = an_entry(estimated=True, request_id=None, cost_usd=0.2)
    end, gateway = run(desk, [says("Done.")], bend=lambda gateway: gateway.entries.append(lost))
    assert end.usage.cost_usd == pytest.approx(0.21)
    assert [line.usage for line in desk.transcript() if line.kind is LineKind.PAID] == [lost]
    assert gateway.asked == [0]


def test_the_most_that_a_lost_call_can_have_cost_is_not_taken_for_its_length(desk):
    """Else a conversation would be compacted because the gateway died."""
    many = "for i in $(seq 2000); do echo word; done"
    steps = [calls("bash", f"toolu_{number}", command=many) for number in range(2)]
    spool = desk.folder / "spool"
    with GatewayDouble(spool, [*steps, says("x" * 300, broken="cut"), says("Done.")]) as gateway:
        gateway.lost = an_entry(estimated=True, input_tokens=900_000)
        account = account_of(desk, spool)
        spec = desk.order(API).spec
        context = spec.context.model_copy(update={"compact_at_tokens": 5_000})
        end = desk.run(API, api_key=TOKEN, account=account, spec=spec.model_copy(update={"context": context}))
    assert (end.kind, end.usage.tokens_used) == ("done", 3 * 1100 + 900_100)
    assert "is compacted" not in desk.log()


def test_the_end_of_a_call_that_broke_is_waited_for(desk):
    spool = desk.folder / "spool"
    with GatewayDouble(spool) as gateway:
        account = account_of(desk, spool)
        gateway.in_flight = 1
        account.begin()
        assert not account.finish(0.1)
        gateway.in_flight, gateway.away = 0, 2
        gateway.entries.append(an_entry())
        assert account.finish(2.0)
        assert account.finish(0.0)
        assert account.charges.total.requests == 1
        gateway.closed = True
        account.begin()
        with pytest.raises(AccountClosed):
            account.entries(5.0)
        assert not account.finish(5.0)


def test_no_gateway_is_no_hang(desk, monkeypatch):
    monkeypatch.setattr("haikud.agent.haiku.metering._END_SECONDS", 0.1)
    account = account_of(desk, desk.folder / "nowhere")
    with pytest.raises(GatewayAway):
        account.entries(0.1)
    account.mirror()
    end = desk.run(API, api_key=TOKEN, account=account, api={"tries": 2})
    assert (end.kind, end.error.code, end.error.failure_class) == (
        "failed",
        "GATEWAY_UNREACHABLE",
        FailureClass.NETWORK,
    )
    assert "haikud's gateway cannot be reached" in end.error.message
    assert "nowhere" not in end.error.message
    assert len(desk.retries()) == 1


@pytest.mark.parametrize("purse", Purse)
def test_a_refusal_for_a_budget_is_a_question(desk, purse):
    refused = refuses("budget", 402, x_haikud_budget=purse.value, x_should_retry="false")
    end, gateway = run(desk, [calls("bash", "toolu_1", text="I begin.", command="true"), refused])
    assert (end.kind, end.purse, len(gateway.journal)) == ("budget", purse, 2)
    assert end.error.failure_class is FailureClass.BUDGET
    assert f"budgets.{purse.value}_usd" in end.error.suggested_action
    assert end.error.message == "The budget does not allow another model call: said by the gateway."
    assert end.question.reason == f"The {purse.value} has used up its budget."
    assert end.question.context == ["Spent on this task so far: 0.0100 USD.", "The agent's last words: I begin."]
    assert desk.retries() == []


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ("model", 403, "MODEL_NOT_ALLOWED"),
        ("price", 400, "UNKNOWN_MODEL_PRICE"),
        ("feature", 400, "FEATURE_REFUSED"),
        ("request", 413, "REQUEST_REFUSED"),
    ],
)
def test_what_no_try_would_change_ends_it_with_the_gateways_words(desk, refusal, status, code):
    end, gateway = run(desk, [refuses(refusal, status)])
    assert (end.kind, end.error.code, len(gateway.journal)) == ("failed", code, 1)
    assert end.error.failure_class is FailureClass.PERMANENT
    assert end.error.message.startswith("said by the gateway. ")


def test_a_token_that_is_refused_ends_the_attempt(desk):
    desk.stop.wait = lambda _seconds: False
    end, gateway = run(desk, [refuses("token", 401)])
    assert (end.kind, end.error.code, len(gateway.journal)) == ("stopped", "TOKEN_REFUSED", 1)
    assert end.error.failure_class is FailureClass.TEMPORARY


@pytest.mark.parametrize(("refusal", "status"), [("unreachable", 502), ("stalled", 504)])
def test_an_api_that_the_gateway_cannot_reach_is_tried_again(desk, refusal, status):
    end, gateway = run(desk, [refuses(refusal, status), says("Done.")])
    assert (end.kind, len(gateway.journal)) == ("done", 2)
    assert desk.retries() == ["retry 1/3 API_UNREACHABLE: said by the gateway; again in 0.01 s"]


def test_an_outage_that_the_gateway_has_waited_for_costs_no_try(desk):
    end, gateway = run(desk, [refuses("unreachable", 502, retry_after="60")] * 4, api={"quota_wait_seconds": 0.1})
    assert (end.kind, len(gateway.journal)) == ("quota", 1)
    assert (end.quota.status, end.quota.message) == (502, "said by the gateway")


@pytest.mark.parametrize("status", [429, 529])
def test_limits_that_last_stop_the_attempt_and_cost_no_try(desk, status):
    end, gateway = run(desk, [refuses("limit", status, retry_after="500")])
    assert (end.kind, len(gateway.journal)) == ("quota", 1)
    assert (end.quota.status, end.quota.retry_after_seconds) == (status, 500.0)


def test_a_clamp_and_a_wait_are_told(desk):
    cut = {"stop_reason": "max_tokens", "headers": {"x-haikud-max-tokens": "300", "x-haikud-waited": "2.5"}}
    end, _ = run(desk, [says("I go on", **cut)] * 4)
    assert (end.kind, end.error.code) == ("failed", "OUTPUT_LIMIT")
    assert "cut off at 300 tokens" in end.error.message
    assert [event["seconds"] for event in desk.events("waiting")] == [2.5] * 4
    assert "held this call back for 2.5 s" in desk.log()


def test_a_spool_with_a_long_path_is_reached(desk):
    spool = desk.folder / ("d" * 100) / ("e" * 100)
    spool.mkdir(parents=True)
    with GatewayDouble(spool, [says("Done.")]):
        account = account_of(desk, spool)
        end = desk.run(API, api_key=TOKEN, account=account)
        account.close()
    assert (end.kind, end.usage.requests) == ("done", 1)
