"""The log's bounds: an agent may print what it likes, and the disk may be full; facts are told all the same."""

from __future__ import annotations

import os
import re
import resource
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haikud.spool.agent_log import AgentLog, make_up_tokens, tokens_told

BOUND = 65_536


@contextmanager
def most_bytes_of_a_file(most: int) -> Iterator[None]:
    """A real refusal of the kernel's (EFBIG) for every write beyond `most` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def agents_bytes(path: Path) -> int:
    return sum(len(line) + 1 for line in path.read_bytes().split(b"\n") if line.startswith(b"agent | "))


def test_head_and_tail_are_kept_and_what_was_cut_is_said(tmp_path: Path):
    path = tmp_path / "agent.log"
    log = AgentLog(path, BOUND)
    for number in range(20_000):
        log.agent(b"line %d\n" % number, "agent")
        if number % 5000 == 0:
            log.fact(f"tokens_used {number}")
    seen = path.read_bytes()
    log.release()
    whole = path.read_bytes()
    assert whole.startswith(seen)  # nothing that was written changes
    text = whole.decode()
    assert "agent | line 0\n" in text
    assert text.rstrip().endswith("agent | line 19999")
    cut = re.search(r"haikud: ([\d,]+) bytes left out here \(limits\.log_bytes\); the last ([\d,]+) follow\n", text)
    assert cut is not None
    assert len(text[cut.end() :].encode()) == int(cut[2].replace(",", ""))
    assert text.count("held back from here on") == 1
    printed = sum(len(b"line %d\n" % number) for number in range(20_000))
    kept = sum(len(line) - len("agent | ") + 1 for line in text.splitlines() if line.startswith("agent | "))
    assert kept + int(cut[1].replace(",", "")) == printed
    assert tokens_told(path) == 5000 + 10_000 + 15_000

    for _ in range(6):  # later commands get their last words too, and the bound holds over all of them
        log.agent(b"\x1b" * 200_000 + b"\n\rtokens_used 7\n the end\n", "tests")
        log.release()
        assert path.read_bytes().endswith(b"agent |  the end\n")
    log.close()
    assert agents_bytes(path) <= BOUND
    assert tokens_told(path) == 30_000


def test_little_is_written_as_it_comes_and_nothing_is_said(tmp_path: Path):
    path = tmp_path / "agent.log"
    log = AgentLog(path, BOUND)
    log.agent(b"one\ntwo", "agent")
    assert path.read_bytes() == b"agent | one\n"
    log.close()
    assert path.read_bytes() == b"agent | one\nagent | two\n"


def test_a_flood_without_a_line_break_costs_neither_memory_nor_much_time(tmp_path: Path):
    log = AgentLog(tmp_path / "agent.log", 4 * BOUND)
    piece = b"x" * 65_536
    tracemalloc.start()
    began = time.process_time()
    for _ in range(256):  # 16 MiB
        log.agent(piece, "agent")
    spent = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    assert peak < 4_000_000
    assert spent < 5.0
    assert (tmp_path / "agent.log").stat().st_size < 5 * BOUND


def test_what_a_full_disk_refuses_is_made_up_for_when_there_is_room(tmp_path: Path):
    path = tmp_path / "agent.log"
    log = AgentLog(path, BOUND)
    log.line("begins")
    with most_bytes_of_a_file(path.stat().st_size + 20):
        log.agent(b"words of the agent that are lost\n")
        for number in (100, 20, 3):
            log.fact(f"tokens_used {number}")
        log.line("words of ours that are lost")
        assert tokens_told(path) < 123
    log.line("goes on")
    text = path.read_text()
    assert tokens_told(path) == 123
    assert re.search(r"haikud: \d+ bytes of this log are lost: the machine refused them\n", text)
    assert text.endswith("goes on\n")
    log.close()


@pytest.mark.parametrize("room", range(0, 18, 3))
def test_half_a_fact_is_never_counted(tmp_path: Path, room: int):
    path = tmp_path / "agent.log"
    log = AgentLog(path)
    with most_bytes_of_a_file(room):
        log.fact("tokens_used 123456")
    log.fact("tokens_used 1")
    log.close()
    assert tokens_told(path) == 123_457


def test_tokens_that_nobody_told_are_told_once(tmp_path: Path):
    path = tmp_path / "agent.log"
    with AgentLogOf(path) as log:
        log.fact("tokens_used 100")
        log.agent(b"tokens_used 999\n")
    for _ in range(3):
        make_up_tokens(path, 150)
    assert tokens_told(path) == 150
    make_up_tokens(path, 120)
    assert tokens_told(path) == 150
    os.mkfifo(tmp_path / "fifo")
    assert tokens_told(tmp_path / "fifo") == 0
    assert tokens_told(tmp_path / "none") == 0


@contextmanager
def AgentLogOf(path: Path) -> Iterator[AgentLog]:  # noqa: N802 -- reads as the class it opens
    log = AgentLog(path)
    yield log
    log.close()
