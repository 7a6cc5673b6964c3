"""Runners that are forked, when they are wanted or ahead of need: real processes, real locks."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.tiny_attempts import TINY, Yard, parent_of, shown, until

from haikud.agent.sources import Sources
from haikud.engine.launchers.forkserver import ForkserverClient
from haikud.engine.launchers.forkserver import _receive as receive
from haikud.engine.launchers.protocol import End, EndKind
from haikud.sandbox.cgroups import remove_cgroup
from haikud.sandbox.process_table import command_line, look_at_all
from haikud.spool.claims import names_attempt


@pytest.fixture
async def forked(tmp_path: Path):
    async with Yard(tmp_path, forks=True) as made:
        yield made


async def test_what_the_forkserver_forks_is_its_child_and_what_starts_without_it_is_ours(forked: Yard):
    handle = await forked.launcher.start(forked.order())
    await forked.seen()
    assert parent_of(handle.pid) == forked.server.pid
    assert b"HAIKUD_OUT" not in shown("environ", handle.pid)


async def test_a_forked_runner_shows_whose_it_is(forked: Yard):
    handle = await forked.launcher.start(forked.order(environment={"PATH": "/bin", "HAIKUD_OUT": "/spool/out"}))
    await forked.seen()
    assert b"HAIKUD_OUT=/spool/out\0" in shown("environ", handle.pid)
    assert shown("cmdline", handle.pid).rstrip(b"\0") == os.fsencode(f"haikud-agent p.t {forked.folder}")


async def test_without_a_forkserver_runners_start_all_the_same_and_another_takes_its_place(forked: Yard):
    assert forked.server.pid is not None
    os.kill(forked.server.pid, signal.SIGKILL)
    handle = await forked.launcher.start(forked.order())
    await forked.seen()
    assert parent_of(handle.pid) == os.getpid()
    await until(lambda: forked.server.is_ready)
    assert any("the forkserver is gone" in line for line in forked.said)


async def test_a_runner_outlives_its_forkserver_and_its_end_is_seen(forked: Yard):
    await forked.launcher.start(forked.order())
    await forked.seen()
    assert forked.server.pid is not None
    os.kill(forked.server.pid, signal.SIGKILL)
    await until(lambda: forked.said[-1].startswith("started"))
    assert not forked.ends
    forked.let_end(0)
    assert await forked.ended() == End(EndKind.EXITED, None)


async def test_a_forkserver_whose_code_has_changed_is_replaced_and_still_tells_of_its_runners(forked: Yard):
    first = forked.server.pid
    await forked.launcher.start(forked.order())
    await forked.seen()
    forked.replace_code()
    other = forked.folder.with_name("attempt-2")
    other.mkdir()
    handle = await forked.launcher.start(replace(forked.order(), attempt=2, folder=other))
    assert parent_of(handle.pid) == os.getpid()
    await until(lambda: forked.server.is_ready and forked.server.pid != first)
    forked.launcher.terminate("p.t.2", force=True)
    forked.let_end(9)
    assert await forked.ended() == End(EndKind.EXITED, 9)
    await until(lambda: not Path(f"/proc/{first}").exists())


@pytest.mark.parametrize("goes_on", [False, True], ids=["dies", "forked before it died"])
async def test_an_order_without_an_answer_starts_one_runner_and_not_two(
    forked: Yard, monkeypatch: pytest.MonkeyPatch, goes_on: bool
):
    monkeypatch.setattr("haikud.engine.launchers.forkserver.ANSWER_SECONDS", 0.3)
    server = forked.server
    assert server.pid is not None
    if goes_on:  # the order is carried out, and its answer is lost
        monkeypatch.setattr("haikud.engine.launchers.forkserver._receive", partial(lose_answers, "forked"))
    else:
        os.kill(server.pid, signal.SIGSTOP)
    await forked.launcher.start(forked.order())
    await forked.seen()
    assert len([pid for pid in look_at_all() if names_attempt(command_line(pid), forked.folder)]) == 1
    forked.let_end(5)
    assert (await forked.ended()).kind is EndKind.EXITED
    assert forked.claim_is_free()


def lose_answers(kind: str, server: Any) -> Any:
    news, descriptors = receive(server)
    if news is not None and news.kind == kind:
        for descriptor in descriptors:
            os.close(descriptor)
        return news.model_copy(update={"number": None}), []
    return news, descriptors


async def test_no_process_but_a_runner_has_its_claim_open(forked: Yard):
    other = replace(forked.order(key="sk-2"), attempt=2, folder=forked.folder.with_name("attempt-2"))
    other.folder.mkdir()
    orders = [forked.order(key="sk-1"), other]
    pids = [(await forked.launcher.start(order)).pid for order in orders]
    for order in orders:
        await until((order.folder / "seen.json").exists)
    for process in (os.getpid(), forked.server.pid, *pids):
        mine = [order.folder / "claim" for order, pid in zip(orders, pids, strict=True) if pid == process]
        assert [place for place in open_files(process).values() if place.name == "claim"] == mine
    assert not [place for place in open_files(forked.server.pid).values() if "haikud-key" in place.name]
    forked.launcher.terminate(other.name, force=True)


def open_files(pid: int | None) -> dict[int, Path]:
    return {int(found.name): found.readlink() for found in Path(f"/proc/{pid}/fd").iterdir() if found.is_symlink()}


async def test_the_last_descriptors_of_the_forkserver_are_enough_to_fork_and_to_tell_the_code(forked: Yard):
    assert forked.server.pid is not None
    used = open_files(forked.server.pid)
    free = [number for number in range(64) if number not in used]
    resource.prlimit(forked.server.pid, resource.RLIMIT_NOFILE, (free[1] + 1, free[1] + 1))  # for log and claim
    assert parent_of((await forked.launcher.start(forked.order())).pid) == forked.server.pid
    await forked.seen()
    forked.let_end(7)
    assert await forked.ended() == End(EndKind.EXITED, 7)


def test_code_that_came_while_it_was_loaded_is_no_code_to_fork_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert not Sources().have_changed()
    (tmp_path / "late.py").touch()
    late = ModuleType("haikud.late")
    late.__file__ = str(tmp_path / "late.py")
    monkeypatch.setitem(sys.modules, "haikud.late", late)
    assert Sources().have_changed()


def test_code_that_is_written_over_where_it_is_is_seen_with_the_next_whole_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "edited.py"
    place.touch()
    os.utime(place, (1, 1))
    edited = ModuleType("haikud.edited")
    edited.__file__ = str(place)
    monkeypatch.setitem(sys.modules, "haikud.edited", edited)
    monkeypatch.setattr("haikud.agent.sources._began", lambda: time.time_ns() + 10**9)
    monkeypatch.setattr("haikud.agent.sources._watch", lambda _folders: None)  # as where nothing is told
    sources = Sources()
    assert not sources.have_changed()
    place.write_text("new = True")
    assert not sources.have_changed()
    monkeypatch.setattr("haikud.agent.sources.LOOK_SECONDS", 0.0)
    assert sources.have_changed()


def test_code_that_is_written_over_where_it_is_is_seen_at_once_by_all_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "edited.py"
    place.touch()
    os.utime(place, (1, 1))
    edited = ModuleType("haikud.edited")
    edited.__file__ = str(place)
    monkeypatch.setitem(sys.modules, "haikud.edited", edited)
    monkeypatch.setattr("haikud.agent.sources._began", lambda: time.time_ns() + 10**9)
    monkeypatch.setattr("haikud.agent.sources.LOOK_SECONDS", 1e9)
    sources = Sources()
    try:
        assert [in_a_fork(sources), sources.have_changed()] == [False, False]
        (tmp_path / "other").touch()  # what is no code of ours has them look, and is forgotten
        assert [in_a_fork(sources), sources.have_changed()] == [False, False]
        place.write_text("new = True")
        assert [in_a_fork(sources), in_a_fork(sources), sources.have_changed()] == [True, True, True]
    finally:
        for descriptor in sources.descriptors:
            os.close(descriptor)


def in_a_fork(sources: Sources) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(int(sources.have_changed()))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.fixture
async def spared(tmp_path: Path):
    async with Yard(tmp_path, forks=True, spares=2) as made:
        yield made


async def test_a_spare_takes_its_order_without_the_forkserver_and_another_is_forked(spared: Yard):
    server, spares = spared.server.pid, spared.server.spares
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    handle = await spared.launcher.start(spared.order(key="sk-1"))
    assert json.loads((await spared.seen())["key"]) == {"api_key": "sk-1"}
    assert handle.pid == spares[0]
    assert spared.server.spares == spares[1:]
    os.kill(server, signal.SIGCONT)
    await until(lambda: len(spared.server.spares) == 2)
    assert spared.server.spares[0] == spares[1]
    spared.let_end(7)
    assert await spared.ended() == End(EndKind.EXITED, 7)


async def test_a_spare_shows_what_it_is_and_holds_nothing(spared: Yard):
    await spared.launcher.start(spared.order(key="sk-1"))
    await spared.seen()
    await until(lambda: len(spared.server.spares) == 2)
    for pid in spared.server.spares:
        await until(lambda pid=pid: shown("cmdline", pid).rstrip(b"\0") == b"haikud-spare")
        assert b"HAIKUD_OUT" not in shown("environ", pid)
        kinds = [str(place).partition(":")[0] for place in open_files(pid).values()]
        assert sorted(kinds) == ["/dev/null"] * 3 + ["anon_inode", "socket"]  # its inotify: whether code has changed
        assert os.getsid(pid) == pid


@pytest.mark.parametrize("end", ["the launcher closes", "the forkserver dies"])
async def test_spares_end_with_whom_they_wait_for(spared: Yard, end: str):
    spares = spared.server.spares
    if end == "the launcher closes":
        spared.launcher.close()
    else:
        assert spared.server.pid is not None
        os.kill(spared.server.pid, signal.SIGKILL)
    await until(lambda: not any(is_there(pid) for pid in spares))


def is_there(pid: int) -> bool:
    try:
        return b") Z " not in shown("stat", pid)
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_where_all_spares_are_dead_a_runner_starts_all_the_same(spared: Yard):
    for pid in spared.server.spares:
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: not is_there(pid))
    handle = await spared.launcher.start(spared.order())
    await spared.seen()
    assert parent_of(handle.pid) == spared.server.pid
    await until(lambda: len(spared.server.spares) == 2)
    spared.let_end(7)
    assert await spared.ended() == End(EndKind.EXITED, 7)


async def test_a_spare_of_old_code_executes_the_new_one_and_is_replaced_with_its_forkserver(spared: Yard):
    first, spares = spared.server.pid, spared.server.spares
    spared.replace_code()
    handle = await spared.launcher.start(spared.order(key="sk-1"))
    seen = await spared.seen()
    assert json.loads(seen["key"]) == {"api_key": "sk-1"}
    assert set(seen["open"]) <= {0, 1, 2, *seen["given"]}
    assert handle.pid == spares[0]
    assert TINY[1].encode() in shown("cmdline", handle.pid)
    await until(lambda: spared.server.pid != first and len(spared.server.spares) == 2)
    spared.let_end(9)
    assert await spared.ended() == End(EndKind.EXITED, 9)
    await until(lambda: not Path(f"/proc/{first}").exists())
    assert not is_there(spares[1])


@pytest.mark.parametrize("answers", [True, False])
async def test_beyond_the_spares_a_start_waits_for_the_next_one_or_does_without(
    spared: Yard, monkeypatch: pytest.MonkeyPatch, answers: bool
):
    monkeypatch.setattr("haikud.engine.launchers.forkserver.ANSWER_SECONDS", 20.0 if answers else 0.3)
    server = spared.server.pid
    assert server is not None
    if not answers:
        os.kill(server, signal.SIGSTOP)
    orders = [replace(spared.order(), attempt=number) for number in range(2, 7)]
    orders = [replace(order, folder=spared.folder.with_name(f"attempt-{order.attempt}")) for order in orders]
    for order in orders:
        order.folder.mkdir()
    parents = [parent_of((await spared.launcher.start(order)).pid) for order in orders]
    assert parents == ([server] * 5 if answers else [server] * 2 + [os.getpid()] * 3)
    for order in orders:
        await until((order.folder / "seen.json").exists)
        spared.launcher.terminate(order.name, force=True)
    await until(lambda: len(spared.ends) == 5)


@pytest.mark.parametrize("spares", [0, 1])
async def test_a_forkserver_that_stands_still_holds_up_no_other_work_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spares: int
):
    monkeypatch.setattr("haikud.engine.launchers.forkserver.ANSWER_SECONDS", 0.3)
    async with Yard(tmp_path, forks=True, spares=spares) as yard:
        assert yard.server.pid is not None
        os.kill(yard.server.pid, signal.SIGSTOP)
        orders = [replace(yard.order(), attempt=number) for number in range(2, 3 + spares)]
        orders = [replace(order, folder=yard.folder.with_name(f"attempt-{order.attempt}")) for order in orders]
        for order in orders:
            order.folder.mkdir()
        starting = [asyncio.ensure_future(yard.launcher.start(order)) for order in orders]
        await asyncio.sleep(0)
        assert [one.done() for one in starting] == [True] * spares + [False]
        assert parent_of((await starting[-1]).pid) == os.getpid()
        for order in orders:
            yard.launcher.terminate(order.name, force=True)
        await until(lambda: len(yard.ends) == len(orders))


async def test_a_start_that_is_called_off_leaves_its_answer_to_nobody(forked: Yard):
    server = forked.server.pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    starting = asyncio.ensure_future(forked.launcher.start(forked.order()))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    os.kill(server, signal.SIGCONT)
    await forked.seen()  # the order was with the forkserver: its runner is there for the next daemon
    before = len(open_files(os.getpid()))
    forked.let_end(0)
    await until(forked.claim_is_free)
    assert len(open_files(os.getpid())) <= before
    assert forked.server.pid == server


async def test_a_daemon_that_ends_in_the_midst_of_a_start_leaves_no_claim_with_a_forkserver_that_stands_still(
    forked: Yard,
):
    server = forked.server.pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    starting = asyncio.ensure_future(forked.launcher.start(forked.order()))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert not forked.claim_is_free()
    forked.launcher.close()
    await until(forked.claim_is_free)  # else the next daemon waits for whoever has it, for ever
    assert not (forked.folder / "seen.json").exists()


async def test_a_daemon_with_the_pid_of_an_earlier_one_gives_its_spares_other_cgroups():
    loop, places = asyncio.get_running_loop(), list[Path | None]()
    for _ in range(2):  # the second as after a power cut: with the same pid, and with notes that name the first one's
        client = ForkserverClient(loop, {}, lambda *_: None, str, spool_id="01234567-89ab-cdef-0123")
        places.append(client._cgroups.make())
        client.close()
    first, second = places
    if first is None:
        pytest.skip("no cgroup v2 that we may write")
    assert second is not None
    for place in {first, second}:
        remove_cgroup(place)
    assert first != second
