"""What a stream has cost so far, at every point where it may be cut."""

from __future__ import annotations

import pytest
from tests.support.messages_double import Answer, events_of

from haikud.costs.stream_usage import StreamUsage

ANSWER = Answer(
    [{"type": "thinking", "thinking": "x" * 30, "signature": "c2ln"}, {"type": "text", "text": "y" * 60}],
    usage={"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 5},
)


def after(count: int) -> StreamUsage:
    used = StreamUsage()
    for kind, data in events_of(ANSWER, 1, "claude-haiku-5-5")[:count]:
        used.add({"type": kind, **data})
    return used


def test_nothing_is_to_pay_before_the_message_begins():
    assert after(0).usage is None


def test_the_end_of_a_whole_stream_is_the_apis_own_count():
    whole = len(events_of(ANSWER, 1, ""))
    used = after(whole - 1)  # the last one, message_stop, says nothing more
    assert used.usage == ANSWER.usage
    assert used.is_final
    assert not used.is_estimated


@pytest.mark.parametrize("count", range(1, 9))
def test_a_cut_stream_counts_what_was_seen(count):
    used = after(count)
    assert used.is_estimated
    assert not used.is_final
    assert used.usage == {**ANSWER.usage, "output_tokens": max(1, -(-used.received // 3))}


@pytest.mark.parametrize("event", [{}, {"type": "message_start"}, {"type": "message_delta", "delta": {}, "usage": {}}])
def test_what_is_no_event_changes_nothing(event):
    used = StreamUsage()
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        used.add(event)
    assert used.usage is None


def test_a_count_without_a_stop_reason_is_not_the_last_word():
    used = after(1)
    used.add({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 3}})
    assert not used.is_final
