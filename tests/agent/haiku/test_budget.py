"""The budget is hard: max_tokens is clamped, and a call that could cross it is not made."""

from __future__ import annotations

from dataclasses import replace

from tests.support.messages_double import MessagesDouble, calls, says

from haikud.contracts.attempt import FailureClass
from haikud.costs.prices import PriceList

HAIKU = "claude-haiku-5-5"
DEAR = {"input_tokens": 10_000, "output_tokens": 1000}  # 0.0015 USD


def test_the_output_is_clamped_to_what_is_left(desk):
    with MessagesDouble([says("Done.")]) as api:
        desk.run(api.base_url, budget_usd=0.002)
    allowed = api.journal[0].body["max_tokens"]
    assert 256 <= allowed < 4000
    assert PriceList().worst_case_cost(HAIKU, 1000, allowed) <= 0.002


def test_a_call_that_could_cross_the_budget_is_not_made(desk):
    dear = replace(calls("bash", text="I start.", command="touch made"), usage=DEAR)
    with MessagesDouble([dear, says("Done.")]) as api:
        end = desk.run(api.base_url, budget_usd=0.0028)
        assert len(api.journal) == 1
        assert end.kind == "budget"
        assert end.usage.cost_usd <= 0.0028
        assert end.summary == "I start."
        assert end.question is not None
        assert "0.0015" in str(end.question)
        assert end.error is not None
        assert end.error.failure_class is FailureClass.BUDGET
        assert desk.run(api.base_url, budget_usd=0.1).kind == "done"


def test_no_money_no_call(desk):
    with MessagesDouble([]) as api:
        end = desk.run(api.base_url, budget_usd=0.0)
    assert (end.kind, api.journal) == ("budget", [])


def test_broken_streams_count_against_the_budget_too(desk):
    with MessagesDouble([says("cut", broken="cut", usage=DEAR) for _ in range(9)]) as api:
        end = desk.run(api.base_url, budget_usd=0.0028, api={"tries": 9})
    assert end.kind == "budget"
    assert len(api.journal) < 9
    assert end.usage.cost_usd <= 0.0028


def test_an_answer_whose_usage_is_odd_counts_as_far_as_it_can_be_read(desk):
    odd = {"input_tokens": 10_000, "output_tokens": 5, "cache_read_input_tokens": -7}
    with MessagesDouble([says("Done.", usage=odd)]) as api:
        end = desk.run(api.base_url)
    assert end.kind == "done"
    assert end.usage.cost_usd > 0.001


def test_a_resumed_conversation_is_measured_by_its_last_call_and_not_by_its_bytes(desk):
    long = "x" * 400_000
    with MessagesDouble([calls("bash", text=long, command="true"), says("Done.")]) as api:
        desk.run(api.base_url, limits={"max_turns": 1})
        assert desk.run(api.base_url, budget_usd=0.01).kind == "done"
