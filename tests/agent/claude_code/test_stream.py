"""The stream of Claude Code 2.1.330 as it was recorded (tests/data/claude_code), and lines that are none."""

from __future__ import annotations

import json
from pathlib import Path

from haikud.agent.claude_code.stream import MOST_MALFORMED_SAID, Follower, Said, describe_tool, lines_of

RECORDED = Path(__file__).parents[2] / "data" / "claude_code"


class Listened:
    """A follower, and what it said."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.events: list[tuple[int | None, str]] = []
        self.follower = Follower(self.words.append, lambda percent, message: self.events.append((percent, message)))

    def to(self, data: bytes, longest: int = 1_000_000) -> Said:
        for line in lines_of(iter([data]), longest):
            self.follower.take(line)
        return self.follower.said


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.jsonl").read_bytes()


def test_a_run_is_told_line_by_line():
    listened = Listened()
    said = listened.to(recorded("denied"))
    assert (said.version, said.model, said.answered, said.malformed) == ("2.1.330", "claude-haiku-5-5", True, 0)
    assert said.result is not None
    assert said.session_id == said.result["session_id"] != ""
    assert said.denied == ["WebFetch"]
    assert listened.words[0] == f"Claude Code 2.1.330, claude-haiku-5-5, session {said.session_id}"
    assert listened.words[1:4] == ["Looking.", "Bash: echo hi > a.txt; pwd", "> /repository"]
    assert "denied: WebFetch" in listened.words
    assert listened.words[-1] == "Done." == said.last_text
    assert (None, "Write: /repository/b.txt") in listened.events


def test_long_results_are_cut_and_errors_are_marked():
    listened = Listened()
    listened.to(recorded("tools"))
    assert "! Exit code 3" in listened.words
    assert "! Command timed out after 1s" in listened.words
    assert any(line.startswith("! ... ") and line.endswith(" more lines") for line in listened.words)
    assert max(len(line) for line in listened.words) < 600


def test_waits_for_the_api_are_progress():
    listened = Listened()
    said = listened.to(recorded("rate_limited"))
    assert said.retries == 2
    assert listened.events == [
        (None, "waits 1.2 s to ask the API again: rate_limit (429)"),
        (None, "waits 1.2 s to ask the API again: rate_limit (429)"),
    ]
    assert not said.answered  # what Claude Code says of the error is no answer of the model's


def test_progress_lines_have_a_percent():
    text = "I am half way.\n**PROGRESS 50%: the button stands**\nPROGRESS 750: too much\nno PROGRESS 10: within a line"
    message = {"type": "assistant", "message": {"model": "m", "content": [{"type": "text", "text": text}]}}
    listened = Listened()
    listened.to(json.dumps(message).encode())
    assert listened.events == [(50, "the button stands"), (100, "too much")]


def test_what_is_no_message_is_said_and_skipped():
    listened = Listened()
    bad = [b"Warning: no JSON", b"[1]", b"7", b'{"type":', b"[" * 100_000, b"\xff\xfe", b'"text"']
    odd = [b"{}", b'{"type":"assistant"}', b'{"type":"assistant","message":{"content":["a",{"type":"text","text":1}]}}']
    odd += [b'{"type":"system","subtype":"init","session_id":[]}', b'{"type":"user","message":{"content":"words"}}']
    odd += [b'{"type":"system","subtype":"api_retry","retry_delay_ms":"soon"}', b'{"type":"news"}', b"", b"  "]
    said = listened.to(b"\n".join([*bad, *odd, recorded("denied")]))
    assert said.malformed == len(bad)
    assert sum(line.startswith("skipped, ") for line in listened.words) == MOST_MALFORMED_SAID
    assert said.result is not None


def test_a_line_is_bounded_wherever_the_chunks_fall():
    data = b"a\n" + b"x" * 50 + b"\nb\n\nc" + b"y" * 3
    for size in (1, 7, 64, 1000):
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        assert list(lines_of(iter(chunks), longest=10)) == [b"a", None, b"b", b"", b"cyyy"], size
    assert list(lines_of(iter([b"x" * 11]), longest=10)) == [None]
    assert list(lines_of(iter([]))) == []


def test_a_tool_use_is_one_line():
    assert describe_tool({"name": "Bash", "input": {"command": "a\nb"}}) == "Bash: a b"
    assert describe_tool({"name": "Odd", "input": {"number": 3}}) == "Odd"
    assert describe_tool({"input": "text"}) == "a tool"
