"""Streams put together, whole and broken, without a network."""

from __future__ import annotations

import pytest
from tests.support.messages_double import Answer, events_of

from haikud.agent.haiku.incoming import BrokenStream, Incoming


def received(answer: Answer, *, events: int | None = None) -> Incoming:
    incoming = Incoming()
    for kind, data in events_of(answer, 1, "claude-haiku-5-5")[:events]:
        incoming.add({"type": kind, **data})
    return incoming


WHOLE = Answer(
    [
        {"type": "thinking", "thinking": "Well.", "signature": "c2ln"},
        {"type": "text", "text": "Now."},
        {"type": "tool_use", "id": "a", "name": "bash", "input": {"command": "true"}},
        {"type": "something_new", "data": {"x": 1}},
    ],
    stop_reason="tool_use",
    usage={"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 5},
)


def test_a_whole_answer_is_what_was_sent():
    incoming = received(WHOLE)
    assert incoming.finish() == WHOLE.blocks
    assert incoming.usage == WHOLE.usage
    assert not incoming.is_estimated


@pytest.mark.parametrize("events", range(13))
def test_no_part_of_an_answer_is_taken_for_a_whole(events):
    incoming = received(WHOLE, events=events)
    with pytest.raises(BrokenStream):
        incoming.finish()
    assert incoming.is_estimated
    assert (incoming.usage is None) == (events == 0)


def test_a_tool_without_input_gets_an_empty_one():
    use = {"type": "tool_use", "id": "a", "name": "bash", "input": ""}
    assert received(Answer([use], stop_reason="tool_use")).finish() == [{**use, "input": {}}]


@pytest.mark.parametrize("text", ['{"command": "tr', "[1]", '"text"'])
def test_an_input_that_is_no_object_is_a_broken_stream(text):
    with pytest.raises(BrokenStream):
        received(Answer([{"type": "tool_use", "id": "a", "name": "bash", "input": text}], "tool_use")).finish()


@pytest.mark.parametrize("text", ["", '{"command": "tr'])
def test_the_block_that_the_limit_cut_is_left_out(text):
    blocks = [{"type": "text", "text": "So"}, {"type": "tool_use", "id": "a", "name": "bash", "input": text}]
    assert received(Answer(blocks, "max_tokens")).finish() == blocks[:1]


def test_half_a_thought_is_left_out():
    assert received(Answer([{"type": "thinking", "thinking": "Let me"}], "max_tokens")).finish() == []


def test_half_a_surrogate_pair_does_not_break_the_next_request():
    [block] = received(Answer([{"type": "text", "text": "a\ud83db"}])).finish()
    block["text"].encode()


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "message_start"},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0},
        {"type": "message_delta", "delta": None},
    ],
)
def test_events_that_do_not_fit_are_a_broken_stream(event):
    with pytest.raises(BrokenStream):
        Incoming().add(event)


def test_events_of_a_newer_api_are_passed_over():
    Incoming().add({"type": "weather", "degrees": 7})
