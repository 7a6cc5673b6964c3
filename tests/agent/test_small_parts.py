"""Parts of the runner that need no process: events, counts, versions' words, secrets in tracebacks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from haikud.agent.attempt import TAIL_BYTES, Tail, clean_text
from haikud.agent.events import EventLog
from haikud.agent.reports.error_reports import describe_exception
from haikud.agent.testing.text import read_output
from haikud.contracts.attempt import AttemptEvent
from haikud.contracts.base import utc_now
from haikud.contracts.states import Phase
from haikud.contracts.usage import UsageEntry
from haikud.spool.models import iter_lines


def test_events_keep_phase_and_percent(tmp_path: Path):
    log = EventLog(tmp_path / "events.jsonl")
    log.phase(Phase.IMPLEMENT, 10, "begin")
    log.progress(90, "far")
    log.progress(None, "still")
    log.tool("bash")
    log.phase(Phase.VALIDATE, 80)
    log.waiting(2.5, "429")
    log.retry("again")
    log.note("n" * 2000)
    log.usage(UsageEntry(at=utc_now(), model="m", input_tokens=5))
    events = list(iter_lines(tmp_path / "events.jsonl", AttemptEvent))
    assert [event.percent for event in events] == [10, 90, 90, 90, 90, 90, 90, 90, None]
    assert events[5].seconds == 2.5
    assert len(events[7].message) == 500
    assert events[8].usage is not None
    assert {event.phase for event in events} == {Phase.IMPLEMENT, Phase.VALIDATE}


def test_a_fifo_in_the_events_place_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "events.jsonl")
    EventLog(tmp_path / "events.jsonl").note("lost")


def test_events_of_many_threads_do_not_mix_and_a_lost_one_harms_nothing(tmp_path: Path):
    log = EventLog(tmp_path / "events.jsonl")
    threads = [threading.Thread(target=lambda: [log.note("x" * 400) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(iter_lines(tmp_path / "events.jsonl", AttemptEvent, strict=True))) == 400
    EventLog(tmp_path / "no" / "such" / "folder").note("lost")


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("===== 3 failed, 42 passed, 1 skipped in 2.31s =====", {"passed": 42, "failed": 3, "skipped": 1}),
        ("Tests:       1 failed, 4 passed, 5 total\nTime: 3 s", {"passed": 4, "failed": 1}),
        ("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1)", {"passed": 3, "failed": 2}),
        ("Ran 1 test in 0.000s\n\nOK", {"passed": 1, "failed": 0}),
        ("test result: ok. 7 passed; 0 failed; 0 ignored", {"passed": 7, "failed": 0}),
        ("Unit tests: 45/45 passing\nE2E tests: 8/10 passing", {"passed": 53, "failed": 2}),
        ("  12 passing (3s)\n", {"passed": 12, "failed": 0}),
        ("all good", {}),
    ],
)
def test_counts_where_they_are_obvious(output: str, counts: dict[str, int]):
    assert read_output(output).counts == counts


def test_a_tail_is_bounded_and_clean_text_keeps_lines():
    tail = Tail()
    for _ in range(100):
        tail.add(b"x" * 5000)
    tail.add(b"end")
    assert len(tail.text()) == TAIL_BYTES
    assert tail.text().endswith("xend")
    assert clean_text("a\x1b[1m\nb\0") == "a\\x1b[1m\nb\\x00"


def test_a_traceback_does_not_show_the_key():
    text = describe_exception(ValueError("bad key sk-ant-made-up-0123456789"))
    assert text == "ValueError: bad key [masked: Anthropic key]\n"
