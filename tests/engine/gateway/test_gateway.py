"""The daemon's side of the gateway, with a real process at the other end: kept up, taken over, replaced, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from haikud.contracts.base import utc_now
from haikud.contracts.settings import Settings
from haikud.engine.gateway import gateway as module
from haikud.engine.gateway import process
from haikud.engine.gateway.gateway import Gateway
from haikud.engine.machine.trouble import Trouble
from haikud.engine.secrets import Secrets
from haikud.sandbox.process_table import command_line
from haikud.spool.layout import SpoolLayout

STAND_IN = Path(__file__).with_name("stand_in.py")
KEY = "sk-ant-made-up"


class Room:
    """A spool, and the gateways of the daemons that serve it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.layout = SpoolLayout(folder / "spool")
        self.layout.root.mkdir()
        self.beside = folder
        self.said: list[str] = []
        self.day: list[float] = []
        self.trouble = Trouble(self.said.append, time.monotonic)

    def daemon(self, key: str | None = KEY) -> Gateway:
        made = Gateway(self.layout, Settings(), Secrets(api_key=key), self.trouble, asyncio.Event(), self.said.append)
        made.on_day = self.day.append
        return made

    def pids(self) -> list[int]:
        """Of all that were started."""
        path = self.beside / "started"
        return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "PROGRAM", ("-I", str(STAND_IN)))
    made = Room(tmp_path)
    yield made
    for pid in made.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


async def until(condition: Callable[[], object], what: str) -> None:
    """As wait_until, while the loop goes on."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not Path(f"/proc/{pid}").exists()


async def leave(daemon: Gateway, *, is_needed: bool = False) -> None:
    await daemon.leave(is_needed=is_needed, wait_seconds=5.0, kill=True)


async def test_nothing_runs_before_a_call_is_near_and_nothing_afterwards(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    daemon = room.daemon()
    await daemon.take_up()
    assert (daemon.state, room.pids()) == ("not needed yet", [])
    place = daemon.place()
    with socket.create_connection(("127.0.0.1", int(place.base_url.rpartition(":")[2])), timeout=5):
        pass  # whoever calls this early waits in the backlog
    await until(lambda: daemon.state == "running", "the link")
    assert daemon.place() == place
    assert room.layout.gateway.messages.stat().st_mode & 0o777 == 0o600
    assert room.layout.gateway.folder.stat().st_mode & 0o777 == 0o700
    account = await daemon.account_of("p.t", 1, utc_now())
    assert account is not None
    assert account.total.cost_usd == 0.25
    assert room.day == [1.5, 2.5, 1.5]
    environment = (room.beside / "started").read_text()
    assert "HTTPS_PROXY" in environment
    assert "ANTHROPIC_API_KEY" not in environment
    (pid,) = room.pids()
    assert KEY.encode() not in command_line(pid)
    await leave(daemon)
    assert is_gone(pid)


async def test_another_takes_the_place_of_one_that_dies_and_one_that_dies_again_and_again_is_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "WAITS", (0.0, 0.02, 0.04))
    daemon = room.daemon()
    place = daemon.place()
    await until(lambda: daemon.state == "running", "the link")
    os.kill(room.pids()[0], signal.SIGKILL)
    await until(lambda: len(room.pids()) == 2 and daemon.state == "running", "another")
    assert any("died of signal 9; another is started" in str(line) for line in room.said)
    assert not room.trouble.texts
    (room.beside / "dies").touch()
    os.kill(room.pids()[1], signal.SIGKILL)
    await until(lambda: len(room.pids()) >= 5, "more tries")
    assert daemon.state == "down"
    assert any("it exited with 7" in text for text in room.trouble.texts)
    async with asyncio.timeout(10):
        assert await _account(daemon, monkeypatch) is None
    (room.beside / "dies").unlink()
    await until(lambda: daemon.state == "running", "one that stays")
    assert not room.trouble.texts
    assert daemon.place() == place
    await leave(daemon)


async def _account(daemon: Gateway, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    return await daemon.account_of("p.t", 1, utc_now())


async def test_the_next_daemon_goes_on_with_it_and_one_with_another_key_replaces_it_on_the_same_sockets(room: Room):
    first = room.daemon()
    place = first.place()
    await until(lambda: first.state == "running", "the link")
    await leave(first, is_needed=True)
    second = room.daemon()
    second.tokens.add("p.t.1")
    await second.take_up()
    assert second.state == "running"
    assert second.place() == place
    assert len(room.pids()) == 1
    await leave(second, is_needed=True)
    third = room.daemon("sk-ant-another")
    await third.take_up()
    assert third.place() == place
    await until(lambda: len(room.pids()) == 2 and third.state == "running", "another")
    await until(lambda: is_gone(room.pids()[0]), "the end of the first")
    assert any("replacing the gateway" in str(line) for line in room.said)
    await leave(third)
    fourth = room.daemon()  # nobody is there any more: the same port again
    assert fourth.place() == place
    await leave(fourth)


async def test_settings_that_were_reread_replace_it_only_where_they_concern_it(room: Room):
    daemon = room.daemon()
    place = daemon.place()
    await until(lambda: daemon.state == "running", "the link")
    daemon.follow(Settings(max_agents=3), Secrets(api_key=KEY))
    await asyncio.sleep(0.1)
    assert (daemon.state, len(room.pids())) == ("running", 1)
    assert not any("replacing" in str(line) for line in room.said)
    daemon.follow(Settings(api={"max_calls": 3}), Secrets(api_key=KEY))
    await until(lambda: len(room.pids()) == 2 and daemon.state == "running", "another")
    await until(lambda: is_gone(room.pids()[0]), "the end of the first")
    assert daemon.place() == place
    assert sum("replacing the gateway" in str(line) for line in room.said) == 1
    await leave(daemon)


async def test_a_socket_that_was_removed_is_made_again_with_a_gateway_that_listens_there(room: Room):
    daemon = room.daemon()
    place = daemon.place()
    await until(lambda: daemon.state == "running", "the link")
    room.layout.gateway.messages.unlink()
    assert daemon.place() == place
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(room.layout.gateway.messages))
    await until(lambda: len(room.pids()) == 2 and daemon.state == "running", "another")
    await until(lambda: is_gone(room.pids()[0]), "the end of the first")
    assert daemon.place() == place
    assert len(room.pids()) == 2
    await leave(daemon)


async def test_a_daemon_that_leaves_in_the_moment_the_link_stands_does_leave(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    daemon = room.daemon()
    link, came = daemon._try_to_link, asyncio.Event()

    async def and_leave(one: process.Process) -> None:
        await link(one)
        came.set()
        daemon._task.cancel()

    monkeypatch.setattr(daemon, "_try_to_link", and_leave)
    daemon.place()
    async with asyncio.timeout(20):
        await came.wait()
        await leave(daemon)
    assert all(is_gone(pid) for pid in room.pids())


async def test_without_a_key_a_gateway_that_runs_is_left_to_its_attempts(room: Room):
    first = room.daemon()
    first.place()
    await until(lambda: first.state == "running", "the link")
    await leave(first, is_needed=True)
    second = room.daemon(None)
    await second.take_up()
    assert (second.is_possible, second.state, len(room.pids())) == (False, "running", 1)
    os.kill(room.pids()[0], signal.SIGKILL)
    await until(lambda: second.state == "down", "its end to be seen")
    await until(lambda: any("no credential" in text for text in room.trouble.texts), "what is missing")
    second.follow(Settings(), Secrets(api_key=KEY))  # a reload has brought one
    await until(lambda: second.state == "running", "another")
    assert not room.trouble.texts
    assert len(room.pids()) == 2
    await leave(second)
    assert all(is_gone(pid) for pid in room.pids())


async def test_one_that_says_nothing_is_killed_and_replaced(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HELLO_SECONDS", 0.1)
    monkeypatch.setattr(module, "DUMB_SECONDS", 0.3)
    (room.beside / "dumb").touch()
    (room.beside / "stays").touch()
    daemon = room.daemon()
    daemon.place()
    await until(lambda: any("it does not answer" in str(line) for line in room.said), "the kill")
    (room.beside / "dumb").unlink()
    await until(lambda: daemon.state == "running", "one that answers")
    await leave(daemon)
    assert all(is_gone(pid) for pid in room.pids())
