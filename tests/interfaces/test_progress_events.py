"""What `haikud wait --progress` tells, from the attempts' events alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.conftest import FakeSpool

from haikud.agent.events import EventLog
from haikud.contracts.base import utc_now
from haikud.contracts.envelope import Envelope, MessageType
from haikud.contracts.states import Phase
from haikud.contracts.usage import UsageEntry
from haikud.interfaces import progress_events
from haikud.interfaces.progress_events import ProgressEvents


def events_of(spool: FakeSpool, ref: str, attempt: int = 1) -> EventLog:
    paths = spool.layout.task(ref).attempt(attempt)
    paths.folder.mkdir()
    return EventLog(paths.events)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_each_report_is_told_once_and_of_the_past_only_the_last_word(
    spool: FakeSpool, capsys: pytest.CaptureFixture[str]
):
    one, two = spool.admit("p", "running", "running")
    first = events_of(spool, one)
    first.phase(Phase.IMPLEMENT, 10, "The agent is at work")
    first.progress(25, "Unit tests: 45/45 passing")
    progress = ProgressEvents(spool.layout, "p", as_json=False)
    assert told(capsys) == ["p.t1: 25% Unit tests: 45/45 passing"]
    progress.look(last=True)
    second = events_of(spool, two)
    second.retry("Attempt 2: network")
    first.tool("bash")
    for percent in (50, 75):
        first.progress(percent, f"at {percent}\x1b[31m")
    progress.look(last=True)
    assert told(capsys) == ["p.t1: 50% at 50\\x1b[31m", "p.t1: 75% at 75\\x1b[31m", "p.t2: retry: Attempt 2: network"]
    first.progress(90, "the end of the first attempt")
    events_of(spool, one, 2).phase(Phase.SETUP, 5, "again")
    progress.look(last=True)
    assert told(capsys) == ["p.t1: 90% the end of the first attempt", "p.t1: 5% again"]


def test_as_json_it_is_the_guides_message_with_the_cost_so_far(spool: FakeSpool, capsys: pytest.CaptureFixture[str]):
    spool.admit("x", "running")
    progress = ProgressEvents(spool.layout, "x", as_json=True)
    events = events_of(spool, "x")
    usage = {"at": utc_now(), "model": "claude-haiku-5-5", "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.02}
    events.usage(UsageEntry.model_validate(usage))
    events.progress(50, "Grüße")
    progress.look(last=True)
    (line,) = told(capsys)
    message = Envelope.model_validate(json.loads(line))
    assert (message.message_type, message.correlation_id) == (MessageType.PROGRESS_UPDATE, "x")
    assert message.sender == "parallel-task-executor"
    expected: dict[str, Any] = {"ref": "x", "attempt": 1, "kind": "progress", "percent": 50, "message": "Grüße"}
    assert message.payload == {**expected, "phase": None, "cost_usd": 0.02}


def test_what_an_agent_put_in_its_place_is_not_read(
    spool: FakeSpool, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress_events, "_MOST_BYTES", 64)
    spool.admit("x", "running")
    paths = spool.layout.task("x").attempt(1)
    paths.folder.mkdir()
    (tmp_path / "secret").write_text('{"kind": "progress", "message": "secret"}\n')
    paths.events.symlink_to(tmp_path / "secret")
    progress = ProgressEvents(spool.layout, "x", as_json=False)
    paths.events.unlink()
    paths.events.write_text('[]\n{"kind": "progress", "percent": "x"}\nnull\n' * 20 + '{"kind": "progress", "mess')
    progress.look(last=True)
    assert told(capsys) == ["x: "] * 20


def test_it_goes_with_a_wait_and_with_nothing_else(spool: FakeSpool, daemon: int, tmp_path: Path):
    spool.admit("x", "running")
    events_of(spool, "x").progress(75, "nearly")
    with spool.start("wait", "x", "--progress", "--timeout", "30") as process:
        spool.finish("x", "success")
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "x: 75% nearly\n")
    assert json.loads(out)["status"] == "success"
    (tmp_path / "r.json").write_text("{}")
    for more in ([], ["--follow"]):
        assert spool.run("submit", str(tmp_path / "r.json"), "--progress", *more).exit_code == 2
