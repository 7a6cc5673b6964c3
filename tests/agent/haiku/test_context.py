"""Selective context: the files that a task names, in its first message, within a cap, and what was left out."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from pathlib import Path

from tests.agent.haiku.conftest import Desk
from tests.support.messages_double import MessagesDouble, Status, says

from haikud.agent.haiku.context import context_report, context_words, gather_context
from haikud.agent.haiku.prompt import first_message
from haikud.contracts.transcript import LineKind


def test_files_are_included_in_their_order_as_far_as_the_cap_goes(tmp_path: Path):
    for name, size in (("a.py", 400), ("big.py", 4_000), ("c.py", 396)):
        (tmp_path / name).write_text("x" * size)
    files = gather_context(tmp_path, ["a.py", "big.py", "a.py", "c.py"], 200)
    assert [(one.path, one.tokens, one.text is not None) for one in files] == [
        ("a.py", 100, True),
        ("big.py", 1_000, False),
        ("c.py", 99, True),
    ]
    assert context_report(files, 200) == {
        "max_tokens": 200,
        "tokens": 199,
        "included": [{"path": "a.py", "tokens": 100}, {"path": "c.py", "tokens": 99}],
        "left_out": [
            {"path": "big.py", "tokens": 1_000, "why": "beyond context.max_tokens, of which 100 were left"},
        ],
    }
    words = context_words(files)
    assert words[1] == "- a.py (about 100 tokens, contents below)"
    assert "big.py (about 1000 tokens, not included: beyond" in words[2]
    assert words[4:] == [
        f'<file path="{name}">\n{"x" * size}\n</file>' for name, size in (("a.py", 400), ("c.py", 396))
    ]


def test_with_no_tokens_names_alone_are_told(tmp_path: Path):
    (tmp_path / "a.py").write_text("x" * 40)
    (one,) = gather_context(tmp_path, ["a.py"], 0)
    assert (one.tokens, one.text) == (10, None)
    assert context_words([one]) == [
        "Worth reading:",
        "- a.py (about 10 tokens, not included: names only (context.max_tokens is 0))",
    ]


def test_nothing_outside_the_worktree_is_read_and_nothing_blocks(tmp_path: Path):
    worktree = tmp_path / "worktree"
    (worktree / ".git").mkdir(parents=True)
    (worktree / ".git" / "config").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (worktree / "link").symlink_to(tmp_path / "outside.txt")
    (worktree / "binary").write_bytes(b"a\0b")
    (worktree / "latin").write_bytes(b"\xe9")
    os.mkfifo(worktree / "fifo")
    (worktree / ".env").write_text("KEY=secret\n")
    (worktree / "alias").symlink_to(".env")
    names = [
        "../outside.txt",
        str(tmp_path / "outside.txt"),
        "link",
        ".git/config",
        "fifo",
        ".",
        "binary",
        "latin",
        "no",
        "./.env",
        "alias",
    ]
    files = gather_context(worktree, names, 8_000, copied=[".env"])
    assert [one.text for one in files] == [None] * len(names)
    assert all(one.why for one in files)
    assert "secret" not in "\n".join(context_words(files))


def test_the_first_message_has_them_and_a_conversation_that_goes_on_keeps_them(desk: Desk):
    gathered: list[int] = []

    def gather():
        gathered.append(1)
        return gather_context(desk.worktree, ["calc.py"], 8_000)

    with MessagesDouble([Status(400)]) as api:
        assert desk.run(api.base_url, gather_context=gather).kind == "failed"
        first = api.journal[0].body["messages"][0]["content"]
    (desk.worktree / "calc.py").write_text("changed = True\n")
    with MessagesDouble([says("Done.")]) as api:
        assert desk.run(api.base_url, gather_context=gather).kind == "done"
        again = api.journal[0].body["messages"][0]["content"]
    assert again == first  # byte for byte: the cached prefix holds
    assert gathered == [1]
    assert '<file path="calc.py">\ndef add(a, b):\n    return a + b\n\n</file>' in first[0]["text"]
    said = [line for line in desk.transcript() if line.kind is LineKind.USER]
    assert len(said) == 1


def test_a_message_without_context_files_is_as_short_as_it_was(desk: Desk):
    order = desk.order("http://127.0.0.1:1")
    plain = first_message(order)
    assert "Worth reading" not in plain
    more = dataclasses.replace(order, gather_context=partial(gather_context, desk.worktree, ["calc.py"], 8_000))
    assert first_message(more).startswith(plain)
