"""Records on disk: read back as written, torn and broken ones told apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.spool.records import NOW, decide_on, make_response

from haikud.contracts.decision import Decision
from haikud.contracts.ledger import LedgerEntry
from haikud.contracts.states import TaskState
from haikud.spool import models
from haikud.spool.claims import read_runner_identity
from haikud.spool.layout import SpoolLayout
from haikud.spool.ledger import append_entry, read_entries
from haikud.spool.models import UnreadableFile, dump, dump_line, iter_lines, read_model
from haikud.spool.queue_state import read_queue_state, write_queue_state


def test_what_is_dumped_is_read(tmp_path: Path):
    decision = decide_on("p.t", 3, TaskState.DEFERRED, retry_at=NOW)
    (tmp_path / "d").write_bytes(dump(decision))
    assert read_model(tmp_path / "d", Decision) == decision
    text = dump(decision).decode()
    assert text.startswith('{\n  "format": 1,\n')
    assert text.endswith("}\n")
    assert '"retry_at": "2026-11-23T10:30:00Z"' in text


def test_missing_is_not_broken(tmp_path: Path):
    assert read_model(tmp_path / "none", Decision) is None
    for broken in (
        b"",
        b"\0" * 100,
        b'{"format": 1',
        b"[]",
        dump(decide_on("p", 1, TaskState.QUEUED)).replace(b"1", b"0"),
    ):
        (tmp_path / "d").write_bytes(broken)
        with pytest.raises(UnreadableFile, match="cannot be read") as caught:
            read_model(tmp_path / "d", Decision)
        assert caught.value.path == tmp_path / "d"
        assert caught.value.why


@pytest.mark.parametrize(
    "put",
    [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("nowhere")],
)
def test_what_an_agent_put_in_a_records_place_is_neither_waited_for_nor_followed(
    tmp_path: Path, put: Callable[[Path], None]
):
    path = tmp_path / "record"
    put(path)
    with pytest.raises(UnreadableFile, match="no regular file"):
        read_model(path, Decision)
    assert list(iter_lines(path, LedgerEntry)) == []
    with pytest.raises(UnreadableFile, match="no regular file"):
        list(iter_lines(path, LedgerEntry, strict=True))
    assert read_runner_identity(path) is None


def test_a_record_or_line_that_is_huge_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "MOST_RECORD_BYTES", 1000)
    monkeypatch.setattr(models, "MOST_LINE_BYTES", 1000)
    path = tmp_path / "record"
    whole = dump_line(entry("here"))
    path.write_bytes(b"\0" * 2500 + b"\n" + whole)
    with pytest.raises(UnreadableFile, match="more than 1000 bytes"):
        read_model(path, Decision)
    assert [one.message for one in iter_lines(path, LedgerEntry)] == ["here"]


def test_half_a_surrogate_pair_from_a_request_can_be_kept(tmp_path: Path):
    response = make_response(note="\ud83d", other="ü")
    (tmp_path / "r").write_bytes(dump(response))
    assert b"\\ud83d" in (tmp_path / "r").read_bytes()


def entry(message: str) -> LedgerEntry:
    return LedgerEntry(at=NOW, event="note", message=message)


def test_lines_skip_what_is_torn_or_broken(tmp_path: Path):
    path = tmp_path / "lines"
    assert list(iter_lines(path, LedgerEntry)) == []
    whole = dump_line(entry("one\ntwo"))
    assert whole.count(b"\n") == 1
    path.write_bytes(whole + b"\0\0\0\n" + whole + whole[:-1])
    assert [e.message for e in iter_lines(path, LedgerEntry)] == ["one\ntwo"] * 2
    with pytest.raises(UnreadableFile, match="line 2"):
        list(iter_lines(path, LedgerEntry, strict=True))


def test_the_ledger_goes_on_after_a_torn_line(layout: SpoolLayout):
    paths = layout.plan("p")
    paths.folder.mkdir()
    append_entry(paths, entry("one"))
    with paths.ledger.open("ab") as stream:
        stream.write(b'{"at": "2026')
    append_entry(paths, entry("two"))
    append_entry(paths, entry("three"))
    assert [e.message for e in read_entries(paths)] == ["one", "two", "three"]


def test_the_queue_runs_unless_it_was_paused(layout: SpoolLayout):
    assert not read_queue_state(layout).paused
    state = read_queue_state(layout).model_copy(update={"paused": True, "reason": "lunch", "token": "ab"})
    write_queue_state(layout, state)
    assert read_queue_state(layout) == state
