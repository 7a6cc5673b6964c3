"""What an agent puts into its out/ is words at best: nothing there is followed, waited for, or believed.

One real runner per case would cost half a minute; the cases share runners by the order in which an agent makes them,
and `read_report` and `EventRelay` are asked directly for the rest.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.attempts import Bench

from haikud.agent.command_agent import EventRelay, read_report
from haikud.contracts.attempt import AttemptEvent
from haikud.contracts.settings import LimitSettings
from haikud.contracts.states import AttemptOutcome
from haikud.spool.agent_log import AgentLog
from haikud.spool.models import iter_lines

SECRET = "a line of a file that the agent may not have read"


class Told:
    """As much of an attempt as reading its out/ needs."""

    def __init__(self, folder: Path) -> None:
        self.out = folder
        self.paths = SimpleNamespace(out=folder)
        self.spec = SimpleNamespace(limits=LimitSettings.model_validate({}))
        self.log = AgentLog(folder.parent / "agent.log")
        self.progress: list[tuple[int | None, str]] = []
        self.events = SimpleNamespace(progress=lambda percent, message: self.progress.append((percent, message)))
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.json").write_text(json.dumps({"summary": SECRET}))
    return Told(out)


def symlink(path: Path) -> None:
    path.symlink_to(path.parent.parent / "secret.json")


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 30)


def holds(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


ODD: dict[str, Callable[[Path], Any]] = {
    "symlink": symlink,
    "symlink to a device": lambda path: path.symlink_to("/dev/zero"),
    "symlink to itself": lambda path: path.symlink_to(path.name),
    "fifo": os.mkfifo,
    "socket": bound_socket,
    "folder": Path.mkdir,
    "sparse": sparse,
}
BAD = {
    "brackets": b'{"payload": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep": b'{"payload": {"x": ' + b"[" * 100 + b"]" * 100 + b"}}",
    "NaN": b'{"payload": {"x": [NaN]}}',
    "Infinity": b'{"payload": {"x": 1e999}}',
    "long number": b'{"payload": {"x": 1' + b"0" * 5000 + b"}}",
    "UTF-16": '{"summary": "x"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"summary": "x"}',
    "NULs": bytes(4096),
    "half a pair": b'{"summary": "\\ud83d"}',
    "no object": b"[1, 2]",
    "empty": b"",
}


@pytest.mark.parametrize("name", [*ODD, *BAD])
def test_a_report_that_is_none_is_a_warning_and_costs_next_to_nothing(told: Told, name: str, monkeypatch):
    monkeypatch.chdir(told.out)
    {**ODD, **{name: holds(data) for name, data in BAD.items()}}[name](told.out / "result.json")
    tracemalloc.start()
    began = time.monotonic()
    report = read_report(told)  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - began < 10
    assert peak < 20_000_000
    assert (report.summary, report.payload) == ("", {})
    assert len(told.warnings) == 1
    assert told.warnings[0].startswith("the agent's result.json was not used: ")
    assert SECRET not in told.warnings[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_not_read(told: Told):
    os.mknod(told.out / "result.json", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    assert read_report(told).summary == ""  # type: ignore[arg-type]
    assert "not a regular file" in told.warnings[0]


@pytest.mark.parametrize("name", ODD)
def test_events_that_are_none_are_a_warning_said_once(told: Told, name: str, monkeypatch):
    monkeypatch.chdir(told.out)
    ODD[name](told.out / "events.jsonl")
    relay = EventRelay(told)  # type: ignore[arg-type]
    for _ in range(3):
        relay.look(last=True)
    assert told.progress == []
    assert len(told.warnings) == 1


def test_events_are_read_to_a_bound_and_broken_lines_are_left_out(told: Told):
    path = told.out / "events.jsonl"
    relay = EventRelay(told)  # type: ignore[arg-type]
    path.write_bytes(
        b'{"percent": 10, "message": "ten\\u001b[2J"}\n' + BAD["brackets"] + b"\n" + BAD["UTF-16"] + b"\n\0\0\n"
        b'{"percent": 200}\n' + b"x" * 300_000 + b"\n" + b'{"percent": 20}\n{"percent": 30'
    )
    relay.look(last=True)
    assert [percent for percent, _ in told.progress] == [10, 20]
    assert "\x1b" not in told.progress[0][1]
    assert told.warnings == []

    path.with_name("other").write_bytes(b'{"percent": 40}\n')
    path.with_name("other").rename(path)  # replaced: begun anew
    relay.look(last=True)
    path.write_bytes(b"")
    relay.look(last=True)
    with path.open("ab") as stream:
        stream.write(b'{"percent": 50}\n' + b'{"percent": 60}\n' * 5000)
    relay.look(last=True)
    assert [percent for percent, _ in told.progress[2:5]] == [40, 50, 60]
    assert len(told.progress) == 2000
    assert len(told.warnings) == 1
    assert "2000 events" in told.warnings[0]

    path.write_bytes(b" " * 1_000_000)
    relay.look(last=True)
    again = EventRelay(told)  # type: ignore[arg-type]
    path.write_bytes(b"\n" * 3_000_000)
    again.look(last=True)
    assert "1048576 bytes" in told.warnings[1]


def test_a_report_that_is_replaced_all_the_time_is_read_as_a_whole_or_not_at_all(told: Told):
    path, other = told.out / "result.json", told.out / "other"
    over = threading.Event()

    def replace() -> None:
        while not over.is_set():
            for summary in ("a" * 10_000, "b" * 500_000):
                other.write_text(json.dumps({"summary": summary}))
                other.rename(path)
            path.unlink(missing_ok=True)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        seen = {read_report(told).summary[:1] for _ in range(200)}  # type: ignore[arg-type]
    finally:
        over.set()
        thread.join()
    assert seen <= {"a", "b", ""}
    assert told.warnings == []


FLOOD = r"""
cd "$HAIKUD_OUT"
ln -s /etc/passwd events.jsonl
head -c 100M /dev/zero | tr '\0' x; echo
yes '{"percent": 1} tokens_used 5' | head -c 20M
echo; echo the last words
(while true; do ln -sfn /etc/passwd .r; mv -T .r result.json; mkfifo .f; mv -T .f result.json; done) &
sleep 0.3
"""


def test_a_real_runner_comes_through_a_flood_with_its_bounds_kept(bench: Bench):
    bench.order(FLOOD, with_worktree=False, limits={"log_bytes": 200_000})
    process = bench.start()
    assert process.wait(timeout=100) == 0
    result = bench.result()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()[-2000:]
    assert result.summary == "the last words"
    assert [warning for warning in result.warnings if "events.jsonl" in warning], result.warnings
    assert [warning for warning in result.warnings if "result.json" in warning], result.warnings
    log = bench.spool.task(bench.ref).log
    assert log.stat().st_size < 250_000
    text = log.read_text()
    assert "bytes left out here (limits.log_bytes)" in text
    assert "agent | the last words\n" in text
    assert "root:" not in text
    assert not [line for line in text.splitlines() if line.startswith("tokens_used")]
    assert bench.left_running() == []
    events = list(iter_lines(bench.paths.events, AttemptEvent))
    assert events[-1].message == "Attempt ended: completed"
