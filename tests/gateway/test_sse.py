"""Events come out the same wherever the chunks end."""

from __future__ import annotations

import json
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from haikud.gateway.sse import EventReader

EVENTS = [{"type": "ping"}, {"type": "content_block_delta", "text": "a\nb: ü"}, {"type": "message_stop"}]


def stream(newline: str) -> bytes:
    text = "".join(f"event: {e['type']}{newline}data: {json.dumps(e, ensure_ascii=False)}{newline * 2}" for e in EVENTS)
    return f": a comment{newline * 2}{text}".encode()


@given(data=st.data(), newline=st.sampled_from(["\n", "\r\n"]))
def test_the_same_events_wherever_chunks_end(data: st.DataObject, newline: str):
    whole, reader, found, start = stream(newline), EventReader(), [], 0
    cuts = data.draw(st.lists(st.integers(0, len(stream(newline))), max_size=8))
    for end in [*sorted(cuts), len(whole)]:
        found += list(reader.feed(whole[start:end]))
        start = end
    assert found == EVENTS


def test_what_is_no_json_object_is_left_out():
    reader = EventReader()
    assert list(
        reader.feed(b'data: {"type": "x\n\ndata: 7\n\ndata:{"type":"y"}\n\ndata: [' + b"[" * 9999 + b"\n\n")
    ) == [{"type": "y"}]
    assert list(reader.feed(b'data: {"a":\ndata: 1}\n\n')) == [{"a": 1}]


def test_an_event_without_an_end_takes_no_more_than_its_bytes():
    reader, lines = EventReader(), b"data: x\n" * 30_000
    tracemalloc.start()
    try:
        for _ in range(3):
            assert not list(reader.feed(lines))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * len(lines)
    assert not list(reader.feed(b"\n"))
    assert list(reader.feed(b'data: {"type":\ndata: "ping"}\n\n')) == [{"type": "ping"}]
