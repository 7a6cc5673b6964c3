"""An attempt that has left nobody is known by those who started since it began; whoever it left is found."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import wait_until

from haikud.sandbox import newcomers as room
from haikud.sandbox import process_table
from haikud.sandbox.newcomers import LOOKS, Newcomers, boot_ticks
from haikud.sandbox.process_table import MARKER_NAME, Seen, look_at

Start = Callable[..., subprocess.Popen[bytes]]


def nobody(_: Seen, __: bytes) -> bool:
    return False


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str, marker: Path | None = None) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.defpath} | ({MARKER_NAME: str(marker)} if marker else {})
        started.append(subprocess.Popen(argv, env=environment, start_new_session=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def next_tick() -> int:
    """A moment after which whoever starts is younger than all that there is."""
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))
    return boot_ticks()


def test_who_started_since_is_seen_and_who_is_older_is_not_looked_at_again(start: Start):
    older = start("sleep", "60")
    moment = next_tick()
    younger, newcomers = start("sleep", "60"), Newcomers()
    for _ in range(2):
        pids = {seen.pid for seen in newcomers.since(moment)}
        assert younger.pid in pids
        assert pids.isdisjoint({older.pid, os.getpid(), 1})


def test_a_marked_process_is_found_though_it_forked_twice_and_left_its_session(start: Start, tmp_path: Path):
    moment, newcomers, pid_file = next_tick(), Newcomers(), tmp_path / "pid"
    assert newcomers.has_left_nobody(moment, str(tmp_path), [], nobody)
    script = f"(setsid sleep 60 & echo $! > {pid_file}) & wait"
    assert start("sh", "-c", script, marker=tmp_path).wait() == 0
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), what="the escaped process")
    pid = int(pid_file.read_text())
    try:
        assert not newcomers.has_left_nobody(moment, str(tmp_path), [], nobody)
        assert newcomers.has_left_nobody(moment, str(tmp_path / "another"), [], nobody)
    finally:
        os.kill(pid, 9)
    wait_until(lambda: newcomers.has_left_nobody(moment, str(tmp_path), [], nobody), what="it to be gone")


def test_who_belongs_by_another_sign_is_found_too(start: Start, tmp_path: Path):
    moment = next_tick()
    process = start("sleep", "60")
    assert not Newcomers().has_left_nobody(moment, str(tmp_path), [], lambda seen, _: seen.pid == process.pid)


def test_who_shows_no_environment_is_asked_again_and_then_nothing_is_proven(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
):
    """As between two programs: for a moment a marked process that executes another one shows nothing."""
    moment = next_tick()
    marked = start("sleep", "60", marker=tmp_path)
    real, blank = process_table._environment, iter([True, False])
    monkeypatch.setattr(
        process_table, "_environment", lambda pid: [b""] if pid == marked.pid and next(blank) else real(pid)
    )
    assert not Newcomers().has_left_nobody(moment, str(tmp_path), [], nobody)
    monkeypatch.undo()
    marked.kill()
    marked.wait()
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as bare:
        assert not Newcomers().has_left_nobody(moment, str(tmp_path), [], nobody)
        bare.kill()
    assert Newcomers().has_left_nobody(moment, str(tmp_path), [], nobody)


def test_one_look_answers_all_who_wait_for_it(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moment, newcomers = next_tick(), Newcomers()
    start("sleep", "60", marker=tmp_path / "3")
    real, looks, all_ask = newcomers.since, list[int](), threading.Event()

    def since(*args: Any) -> list[Seen]:
        looks.append(1)
        all_ask.wait(20)
        return real(*args)

    monkeypatch.setattr(newcomers, "since", since)
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(newcomers.has_left_nobody, moment, str(tmp_path / str(number)), [], nobody)
            for number in range(12)
        ]
        wait_until(lambda: looks and len(newcomers._asked) == 11, what="all to ask")
        all_ask.set()
        assert [one.result() for one in asked] == [number != 3 for number in range(12)]
    assert len(looks) == 2 * LOOKS, "one for the first who asked, one for all who asked meanwhile"


def test_a_look_that_is_refused_answers_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    newcomers, real, asks = Newcomers(), room.look_at, threading.Event()

    def refuse_once(pid: int) -> Seen | None:
        monkeypatch.setattr(room, "look_at", real)
        asks.wait(20)
        raise OSError(errno.EMFILE, "no descriptor is left")

    monkeypatch.setattr(room, "look_at", refuse_once)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(newcomers.has_left_nobody, next_tick(), str(tmp_path), [], nobody)
        wait_until(lambda: newcomers._looking.locked() and not newcomers._asked, what="the first look")
        second = pool.submit(newcomers.has_left_nobody, next_tick(), str(tmp_path / "2"), [], nobody)
        wait_until(lambda: newcomers._asked, what="another who asks")
        asks.set()
        assert second.result()
        with pytest.raises(OSError, match="no descriptor"):
            first.result()


def test_of_an_attempt_that_began_nobody_knows_when_nothing_is_proven(tmp_path: Path):
    assert not Newcomers().has_left_nobody(None, str(tmp_path), [], nobody)


def test_a_pid_that_is_another_process_by_now_is_looked_at_anew(start: Start, monkeypatch: pytest.MonkeyPatch):
    moment, newcomers = next_tick(), Newcomers()
    process = start("sleep", "60")
    newcomers.since(moment)
    inode, _ = newcomers._known[str(process.pid)]
    newcomers._known[str(process.pid)] = (inode + 1, 0)  # as if an old process had had that pid at the last look
    assert process.pid in {seen.pid for seen in newcomers.since(moment)}
    looked: list[int] = []
    monkeypatch.setattr(room, "look_at", lambda pid: looked.append(pid) or look_at(pid))
    newcomers.since(boot_ticks() + 1000)
    assert process.pid not in looked  # what is known is not read again
    assert newcomers._known[str(process.pid)] == (inode, look_at(process.pid).started)  # type: ignore[union-attr]


def test_a_new_process_has_an_inode_that_the_last_one_of_its_pid_had_not(start: Start):
    """What all this rests on, as far as it can be tried without going through all pids: inodes are not made of pids."""
    newcomers, inodes = Newcomers(), dict[int, int]()
    for _ in range(5):
        process = start("sleep", "60")
        newcomers.since(0)
        inodes[process.pid] = newcomers._known[str(process.pid)][0]
        assert inodes[process.pid] == Path(f"/proc/{process.pid}").stat().st_ino
    steps = {inode - pid for pid, inode in inodes.items()}
    assert len(set(inodes.values())) == 5
    assert len(steps) > 1, "an inode that is a function of the pid tells no two processes apart"


def test_a_look_that_the_machine_refuses_is_no_proof(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refused(pid: int) -> Seen | None:
        raise OSError(errno.EMFILE, "no descriptor is left")

    monkeypatch.setattr(room, "look_at", refused)
    with pytest.raises(OSError, match="no descriptor"):
        Newcomers().has_left_nobody(boot_ticks(), str(tmp_path), [], nobody)
