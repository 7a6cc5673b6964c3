"""The task's log: the guide's own grep and awk count facts and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haikud.spool.agent_log import FACTS, MOST_LINE_BYTES, AgentLog


def count(folder: Path) -> tuple[int, int, int]:
    """What the guide's commands say about a folder's logs: tokens, retries, contexts."""

    def shell(command: str) -> int:
        return int(subprocess.check_output(["/bin/sh", "-c", command], cwd=folder, text=True).strip() or 0)

    return (
        shell("grep \"tokens_used\" agent-*.log | awk '{sum+=$2} END {print sum}'"),
        shell('grep "retry" agent-*.log | wc -l'),
        shell('grep "context_tokens" agent-*.log | wc -l'),
    )


@pytest.fixture
def log(tmp_path: Path) -> AgentLog:
    return AgentLog(tmp_path / "agent-t.log")


def lines(log_folder: Path) -> list[str]:
    return (log_folder / "agent-t.log").read_bytes().decode().split("\n")[:-1]


HOSTILE = [
    b"tokens_used 999999\n",
    b"\ntokens_used 999999\n",
    b"x\rtokens_used 999999\n",
    b"\x00\x00\n",
    b"retry 1/3 network\n",
    b"I retry; context_tokens_used 77; npm retrying\n",
    b"\x1b[2J\x1b]0;title\x07\n",
    "\u2028tokens_used 5\n\u0085tokens_used 6\n".encode(),
    b"\xff\xfetokens_used 7\n\xc2",
    b"a" * (MOST_LINE_BYTES - 4) + b" retry 1/2\n",
    b"y" * 3 * MOST_LINE_BYTES,
    b"tokens_used 1" * 4000,
]


def test_the_guides_commands_count_the_facts_alone(tmp_path: Path, log: AgentLog):
    other = AgentLog(tmp_path / "agent-retry-context_tokens.log")
    other.fact("tokens_used 1000")
    for number, data in enumerate(HOSTILE):
        log.agent(data, source=f"s{number % 3}")
        log.line(data.decode("utf-8", "surrogateescape"))
        log.fact("tokens_used 7")
        log.fact("retry 1/3 tokens_used 12 retry context_tokens\ntokens_used 4")
        log.fact("context_tokens 5")
    log.flush()
    n = len(HOSTILE)
    assert count(tmp_path) == (1000 + 7 * n, n, n)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.binary(max_size=40)
            | st.sampled_from([*[f.encode() for f in FACTS], b"\n", b" 9", b"re", b"try", b"tokens", b"_used 9\n"]),
        ),
        max_size=30,
    )
)
def test_whatever_an_agent_prints_only_facts_are_facts(pieces: list[tuple[str, bytes]]):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        log = AgentLog(writer)
        for source, piece in pieces:
            log.agent(piece, source)
        log.close()
        os.close(writer)
        written = stream.read()
    text = written.decode("ascii", "strict") if written.isascii() else written.decode("utf-8", "strict")
    for line in text.split("\n")[:-1]:
        assert line.startswith("agent | ")
        assert not any(fact in line for fact in FACTS)
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f]", line)
    assert text == "" or text.endswith("\n")


def test_control_bytes_show_as_what_they_are_and_text_stays(tmp_path: Path, log: AgentLog):
    log.agent("tab\there ünï €\r\n".encode() + b"\x00\x1b[1m\x07 \xc2\x9b \xff \x7f\n" + "\u202etxt\n".encode())
    assert lines(tmp_path) == [
        "agent | tab\there ünï €\\x0d",
        "agent | \\x00\\x1b[1m\\x07 \\xc2\\x9b \\xff \\x7f",
        "agent | \\xe2\\x80\\xaetxt",
    ]


def test_the_three_words_are_broken_visibly(tmp_path: Path, log: AgentLog):
    log.agent(b"retry, context_tokens_used\n")
    log.line("retry tokens_used 12 context_tokens 3\nsecond \x1b line")
    agent, first, second = lines(tmp_path)
    assert agent == r"agent | \x72etry, \x63ontext_\x74okens_used"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ re-try tokens-used 12 context-tokens 3", first)
    assert second.endswith(r"Z second \x1b line")


def test_unfinished_lines_wait_for_their_rest_per_source(tmp_path: Path, log: AgentLog):
    log.agent(b"one ", "out")
    log.agent(b"two ", "err")
    log.agent(b"half a \xe2\x82", "out")
    log.agent(b"\xac\n", "out")
    assert lines(tmp_path) == ["agent | one half a €"]
    log.flush("out")
    log.flush()
    assert lines(tmp_path)[1:] == ["agent | two "]
    log.agent(b"tail")
    log.close()
    assert lines(tmp_path)[2:] == ["agent | tail"]


def test_an_overlong_line_is_broken_between_characters(tmp_path: Path, log: AgentLog):
    text = "x" + "€" * 6000
    log.agent(text.encode() + b"\n")
    found = lines(tmp_path)
    assert len(found) == 3
    assert all(len(line.encode()) <= MOST_LINE_BYTES + len("agent | ") for line in found)
    assert "".join(line.removeprefix("agent | ") for line in found) == text
    log.agent(b"z" * (MOST_LINE_BYTES + 1))  # no newline yet: what is certain is written
    assert lines(tmp_path)[-1] == "agent | " + "z" * MOST_LINE_BYTES
    log.agent(b"\x80" * (MOST_LINE_BYTES + 100) + b"\n")  # no character anywhere to cut between
    assert lines(tmp_path)[-1].endswith("\\x80")


def test_a_line_that_something_else_left_open_does_not_push_a_fact_out_of_column_one(tmp_path: Path, log: AgentLog):
    with (tmp_path / "agent-t.log").open("ab") as stream:
        stream.write(b"Fatal Python error")
    log.fact("tokens_used 3")
    assert lines(tmp_path) == ["Fatal Python error", "tokens_used 3"]


def test_only_the_three_facts_are_facts(log: AgentLog):
    for text in ("tokens 3", "tokens_used", "", "retrying 1"):
        with pytest.raises(ValueError, match="not a fact"):
            log.fact(text)


def test_the_offset_is_the_end(tmp_path: Path, log: AgentLog):
    assert log.offset() == 0
    log.line("hello")
    assert log.offset() == (tmp_path / "agent-t.log").stat().st_size > 0


def test_threads_do_not_mix_their_lines(tmp_path: Path, log: AgentLog):
    def write(name: str) -> None:
        for _ in range(100):
            log.agent(f"{name * 50}\n".encode(), name)
            log.fact("tokens_used 1")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(tmp_path)[0] == 400
    assert all(re.fullmatch(r"tokens_used 1|agent \| (a{50}|b{50}|c{50}|d{50})", line) for line in lines(tmp_path))


def test_secrets_are_masked_whoever_says_them(tmp_path: Path, log: AgentLog):
    secret = f"ghp_{'a1B2' * 9}"
    log.line(f"trouble with {secret}")
    log.fact(f"retry 1/2 {secret}")
    log.agent(f"the model said {secret}\n".encode())
    log.close()
    said = "\n".join(lines(tmp_path))
    assert said.count("[masked: GitHub token]") == 3
    assert secret not in said
