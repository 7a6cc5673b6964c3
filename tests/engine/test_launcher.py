"""The launcher of this machine, with and without a forkserver: real processes, real locks."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from haikud.agent.forkserver import Sources
from haikud.engine.launchers.forkserver import ForkserverClient
from haikud.engine.launchers.forkserver import _receive as receive
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import End, EndKind, LaunchFailed, LaunchOrder
from haikud.sandbox.process_table import command_line, look_at_all
from haikud.spool.claims import names_attempt, release_claim, take_claim

TINY = (sys.executable, str(Path(__file__).with_name("tiny_runner.py")))


TINY_SERVER = (sys.executable, str(Path(__file__).with_name("tiny_forkserver.py")))


class Yard:
    """An attempt folder and a launcher for tiny runners."""

    def __init__(self, folder: Path, *, forks: bool) -> None:
        self.forks = forks
        self.said: list[str] = []
        self.watched = folder / "watched.py"
        self.watched.touch()
        self.folder = folder / "attempt-1"
        self.folder.mkdir()
        self.log = folder / "agent.log"
        self.ends: dict[str, End] = {}
        self.launcher = self.another()

    def another(self, argv: tuple[str, ...] = TINY) -> LocalLauncher:
        def on_end() -> None:
            self.ends.update(launcher.poll())

        loop = asyncio.get_running_loop()

        def forkserver(on_code: Callable[[int, int], None]) -> ForkserverClient:
            program = (*TINY_SERVER, "--watched", str(self.watched))
            self.server = ForkserverClient(loop, {"PATH": os.defpath}, on_code, self.said.append, program=program)
            return self.server

        launcher = LocalLauncher(loop, on_end, argv_prefix=argv, forkserver=forkserver if self.forks else None)
        return launcher

    async def begin(self) -> None:
        if self.forks:
            self.launcher.begin()
            await until(lambda: self.server.is_ready)

    def order(self, **fields: Any) -> LaunchOrder:
        given = {"environment": {"PATH": os.defpath}, "key": None, **fields}
        return LaunchOrder("p.t", 1, self.folder, self.log, **given)

    def let_end(self, code: int = 0) -> None:
        (self.folder / "end.tmp").write_text(str(code))
        (self.folder / "end.tmp").rename(self.folder / "end")

    async def seen(self) -> dict[str, Any]:
        await until((self.folder / "seen.json").exists)
        loaded = json.loads((self.folder / "seen.json").read_text())
        assert isinstance(loaded, dict)
        return loaded

    async def ended(self) -> End:
        await until(lambda: "p.t.1" in self.ends)
        return self.ends["p.t.1"]

    def claim_is_free(self) -> bool:
        claim = take_claim(self.folder / "claim")
        if claim is not None:
            release_claim(claim)
        return claim is not None


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


@pytest.fixture(params=["subprocess", "forkserver"])
async def yard(tmp_path: Path, request: pytest.FixtureRequest):
    made = Yard(tmp_path, forks=request.param == "forkserver")
    await made.begin()
    yield made
    made.let_end()
    made.launcher.terminate("p.t.1", force=True)
    made.launcher.close()


async def test_a_runner_gets_claim_key_log_and_an_environment_from_nothing(yard: Yard):
    handle = yard.launcher.start(yard.order(key="sk-1", environment={"PATH": os.defpath, "HAIKUD_OUT": "/o"}))
    assert not yard.claim_is_free()
    seen = await yard.seen()
    assert json.loads(seen["key"]) == {"api_key": "sk-1"}
    assert set(seen["environment"]) <= {"PATH", "HAIKUD_OUT", "PYTHONPATH", "LC_CTYPE"}
    assert (seen["ref"], seen["cwd"], seen["leader"], seen["stdin"]) == ("p.t", "/", True, "")
    assert set(seen["open"]) <= {0, 1, 2, *seen["given"]}
    assert yard.launcher.pid_of("p.t", 1) == handle.pid
    yard.let_end(7)
    assert await yard.ended() == End(EndKind.EXITED, 7)
    assert yard.claim_is_free()
    assert sorted(yard.log.read_text().split("\n")) == ["", "a word on stderr", "a word on stdout"]


async def test_the_log_is_appended_to(yard: Yard):
    yard.log.write_text("before\n")
    yard.launcher.start(yard.order())
    await yard.seen()
    assert yard.log.read_text().startswith("before\n")


async def test_a_fifo_in_the_logs_place_is_a_failed_start_and_not_waited_for(yard: Yard):
    order = yard.order()
    order.log.unlink(missing_ok=True)
    os.mkfifo(order.log)
    with pytest.raises(LaunchFailed):
        yard.launcher.start(order)


async def test_starting_the_same_attempt_again_starts_nothing(yard: Yard):
    assert yard.launcher.start(yard.order()) == yard.launcher.start(yard.order())


async def test_a_claim_that_someone_holds_is_a_failed_start(yard: Yard):
    claim = take_claim(yard.folder / "claim")
    assert claim is not None
    with pytest.raises(LaunchFailed, match="claim"):
        yard.launcher.start(yard.order())
    release_claim(claim)


async def test_what_cannot_be_started_leaves_the_claim_free(yard: Yard):
    launcher = yard.another(("/does/not/exist",))
    with pytest.raises(LaunchFailed, match="exist"):
        launcher.start(yard.order(key="sk-1"))
    assert yard.claim_is_free()


@pytest.mark.parametrize(("force", "number"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
async def test_terminating_tells_by_which_signal_it_died(yard: Yard, force: bool, number: int):
    yard.launcher.start(yard.order())
    await yard.seen()
    yard.launcher.terminate("p.t.1", force=force)
    assert await yard.ended() == End(EndKind.EXITED, -number)
    yard.launcher.terminate("p.t.1")  # of what is gone: nothing


async def test_closing_leaves_the_runner_alone_and_the_next_launcher_adopts_it(yard: Yard):
    pid = yard.launcher.start(yard.order()).pid
    await yard.seen()
    yard.launcher.close()
    yard.launcher = yard.another()
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid == pid
    yard.launcher.terminate("p.t.1")
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_free_claim_is_nobody_to_adopt(yard: Yard):
    assert yard.launcher.adopt("p.t.1", yard.folder) is None
    assert yard.launcher.adopt("p.t.1", yard.folder.parent / "attempt-9") is None


async def test_a_runner_that_has_not_named_itself_is_adopted_by_its_command_line(yard: Yard):
    (yard.folder / "be-nameless").touch()
    pid = yard.launcher.start(yard.order()).pid
    await until(lambda: names_attempt(shown("cmdline", pid), yard.folder))  # a forked one takes a moment to show it
    yard.launcher.close()
    yard.launcher = yard.another()
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid == pid
    yard.launcher.terminate("p.t.1")
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_runner_that_is_not_to_be_found_yet_is_adopted_when_it_is(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    (yard.folder / "be-nameless").touch()
    yard.launcher.start(yard.order())
    yard.launcher.close()
    yard.launcher = yard.another()
    with monkeypatch.context() as patched:  # between fork and exec it still looks like the daemon that was killed
        patched.setattr("haikud.engine.launchers.sighting.command_line", lambda _pid: b"haikud run")
        handle = yard.launcher.adopt("p.t.1", yard.folder)
        assert handle is not None
        assert handle.pid is None
    yard.launcher.terminate("p.t.1")  # kept until it can be delivered
    (yard.folder / "be-nameless").unlink()
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_nameless_runner_that_dies_is_seen_to_be_gone(yard: Yard):
    (yard.folder / "be-nameless").touch()
    pid = yard.launcher.start(yard.order()).pid
    assert pid is not None
    yard.launcher.close()
    yard.launcher = yard.another()
    yard.launcher.adopt("p.t.1", yard.folder)
    os.kill(pid, signal.SIGKILL)
    assert await yard.ended() == End(EndKind.EXITED, None)


@pytest.fixture
async def forked(tmp_path: Path):
    made = Yard(tmp_path, forks=True)
    await made.begin()
    yield made
    made.let_end()
    made.launcher.terminate("p.t.1", force=True)
    made.launcher.close()


def shown(what: str, pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def parent_of(pid: int | None) -> int:
    return int(shown("stat", pid).rpartition(b")")[2].split()[1])


async def test_what_the_forkserver_forks_is_its_child_and_what_starts_without_it_is_ours(forked: Yard):
    handle = forked.launcher.start(forked.order())
    await forked.seen()
    assert parent_of(handle.pid) == forked.server.pid
    assert b"HAIKUD_OUT" not in shown("environ", handle.pid)


async def test_a_forked_runner_shows_whose_it_is(forked: Yard):
    handle = forked.launcher.start(forked.order(environment={"PATH": "/bin", "HAIKUD_OUT": "/spool/out"}))
    await forked.seen()
    assert b"HAIKUD_OUT=/spool/out\0" in shown("environ", handle.pid)
    assert shown("cmdline", handle.pid).rstrip(b"\0") == os.fsencode(f"haikud-agent p.t {forked.folder}")


async def test_without_a_forkserver_runners_start_all_the_same_and_another_takes_its_place(forked: Yard):
    assert forked.server.pid is not None
    os.kill(forked.server.pid, signal.SIGKILL)
    handle = forked.launcher.start(forked.order())
    await forked.seen()
    assert parent_of(handle.pid) == os.getpid()
    await until(lambda: forked.server.is_ready)
    assert any("the forkserver is gone" in line for line in forked.said)


async def test_a_runner_outlives_its_forkserver_and_its_end_is_seen(forked: Yard):
    forked.launcher.start(forked.order())
    await forked.seen()
    assert forked.server.pid is not None
    os.kill(forked.server.pid, signal.SIGKILL)
    await until(lambda: forked.said[-1].startswith("started"))
    assert not forked.ends
    forked.let_end(0)
    assert await forked.ended() == End(EndKind.EXITED, None)


async def test_a_forkserver_whose_code_has_changed_is_replaced_and_still_tells_of_its_runners(forked: Yard):
    first = forked.server.pid
    forked.launcher.start(forked.order())
    await forked.seen()
    forked.watched.write_text("new = True\n")
    other = forked.folder.with_name("attempt-2")
    other.mkdir()
    handle = forked.launcher.start(replace(forked.order(), attempt=2, folder=other))
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
    forked.launcher.start(forked.order())
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
    pids = [forked.launcher.start(order).pid for order in orders]
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
    assert parent_of(forked.launcher.start(forked.order()).pid) == forked.server.pid
    await forked.seen()
    forked.let_end(7)
    assert await forked.ended() == End(EndKind.EXITED, 7)


async def test_an_environment_that_is_not_utf_8_is_handed_on_as_it_is(yard: Yard):
    path = f"{os.defpath}:/home/jos\udce9"
    yard.launcher.start(yard.order(environment={"PATH": path}))
    assert (await yard.seen())["environment"]["PATH"] == path


async def test_a_start_that_breaks_leaves_the_claim_free(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haikud.engine.launchers.local.import_path", list)  # a bug of ours: no mapping
    with pytest.raises(TypeError):
        yard.launcher.start(yard.order())
    assert yard.claim_is_free()


def test_code_that_came_while_it_was_loaded_is_no_code_to_fork_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert not Sources().have_changed()
    (tmp_path / "late.py").touch()
    late = ModuleType("haikud.late")
    late.__file__ = str(tmp_path / "late.py")
    monkeypatch.setitem(sys.modules, "haikud.late", late)
    assert Sources().have_changed()
