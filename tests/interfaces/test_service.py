"""What a service manager is told and sends: readiness, status, reload, the watchdog, the journal's lines."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.engine.engine import Stopping
from haikud.engine.log_levels import Alarm, Warn
from haikud.engine.rounds import Rounds
from haikud.engine.supervisor import Supervisor
from haikud.interfaces.service.log_lines import choose_dress, log_to_stderr
from haikud.interfaces.service.notify import Systemd, take_supervisor
from haikud.spool.log_lines import Dress


class Manager:
    """The end of the notify socket that a service manager holds."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """All words so far."""
        while True:
            try:
                self.heard.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return self.heard

    def hears(self, start: str, *, after: int = 0) -> str:
        """The first word from `after` on that begins so."""
        return wait_until(
            lambda: next((word for word in self.listen()[after:] if word.startswith(start)), None),
            what=lambda: f"{start}; heard {self.heard}",
        )


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_without_a_service_manager_nobody_is_told():
    assert take_supervisor({}) is None
    assert take_supervisor({"NOTIFY_SOCKET": "vsock:2:1234"}) is None


def test_an_agent_cannot_speak_for_the_daemon(manager: Manager, tmp_path: Path):
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "A": "b"}
    supervisor = take_supervisor(environ)
    assert environ == {"A": "b"}
    assert supervisor is not None
    assert supervisor.seconds_left() is None  # another process is watched
    supervisor.ready()
    assert manager.listen() == ["READY=1"]


def test_an_abstract_socket_serves_and_one_that_is_gone_harms_nothing():
    address = f"@haikud-test-{os.getpid()}"
    manager = Manager(address)
    supervisor = Systemd(address)
    supervisor.stopping()
    assert manager.listen() == ["STOPPING=1"]
    manager.socket.close()
    supervisor.ready()


def test_the_same_status_is_told_once_and_in_one_line(manager: Manager, tmp_path: Path):
    supervisor = Systemd(str(tmp_path / "notify"))
    for line in ("1 running", "1 running", "idle\nREADY=1"):
        supervisor.tell(line)
    assert manager.listen() == ["STATUS=1 running", "STATUS=idle READY=1"]


def test_the_watchdog_is_fed_at_half_its_time_and_no_earlier(manager: Manager, tmp_path: Path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    supervisor = Systemd(str(tmp_path / "notify"), 10.0)
    supervisor.alive()
    assert (supervisor.seconds_left(), manager.listen()) == (5.0, [])
    now = 105.0
    supervisor.alive()
    supervisor.alive()
    assert (supervisor.seconds_left(), manager.listen()) == (5.0, ["WATCHDOG=1"])


@pytest.mark.parametrize(("text", "level"), [("plain", 6), (Warn("odd"), 4), (Alarm("bad"), 3)])
def test_the_journal_gets_levels_and_machines_get_json(capsys, text: str, level: int):
    log_to_stderr(Dress.JOURNAL)(type(text)(f"{text}\n<0>x\x1b[31m"))
    assert capsys.readouterr().err == f"<{level}>{text} <0>x\\x1b[31m\n"
    log_to_stderr(Dress.JSON)(text)
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["message"]) == ({6: "info", 4: "warning", 3: "error"}[level], str(text))
    assert said["time"].endswith("Z")


def test_only_the_journals_own_stream_gets_the_journals_dress(tmp_path: Path, monkeypatch):
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        status = os.fstat(log.fileno())
        here = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert choose_dress(here, as_json=False) is Dress.JOURNAL
        assert choose_dress({"JOURNAL_STREAM": "1:2"}, as_json=False) is not Dress.JOURNAL
        assert choose_dress(here, as_json=True) is Dress.JSON


@pytest.fixture
def house(tmp_path: Path, manager: Manager) -> Iterator[House]:
    made = House(tmp_path, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    yield made
    made.close()


def test_a_daemon_tells_its_manager_of_its_life_and_rereads_its_settings(house: House, manager: Manager):
    house.environment["WATCHDOG_USEC"] = "400000"
    house.settings = {"rescan_seconds": 30.0}
    house.role("asks", "echo Which one?; exit 79", workspace="none")
    house.start()
    manager.hears("READY=1")
    assert manager.heard[0] == "STATUS=idle"
    house.request("q", role="asks")
    manager.hears("STATUS=1 question")
    fed = sum(word == "WATCHDOG=1" for word in manager.listen())
    wait_until(lambda: sum(word == "WATCHDOG=1" for word in manager.listen()) >= fed + 3, what="a fed watchdog")

    house.send(signal.SIGSTOP)
    manager.listen()
    after = len(manager.heard)
    with pytest.raises(AssertionError):  # a daemon that does not go round keeps silent
        wait_until(lambda: manager.listen()[after:], seconds=0.5)
    house.send(signal.SIGCONT)

    good = house.config.read_text()
    house.config.write_text("max_agent: 3\n")
    house.send(signal.SIGHUP)
    told = manager.hears("STATUS=1 question; settings not reloaded", after=after)
    assert "haikud.yaml:1: max_agent is no setting; the nearest is max_agents" in told
    (house.roles / "broken.md").write_text("no front matter")
    after = len(manager.heard)
    house.config.write_text(good)
    house.send(signal.SIGHUP)
    assert "broken.md" in manager.hears("STATUS=1 question; settings not reloaded: the roles", after=after)
    house.request("late", role="asks")
    wait_until(lambda: house.state("late") == "escalated", what=lambda: f"old roles to hold; {house.tail()}")

    (house.roles / "broken.md").unlink()
    house.config.write_text(yaml.safe_dump({**yaml.safe_load(good), "max_agents": 3, "group": "root"}))
    after = len(manager.listen())
    house.send(signal.SIGHUP)
    reloading = manager.hears("RELOADING=1", after=after)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
    manager.hears("READY=1", after=after)
    assert manager.hears("STATUS=", after=after) == "STATUS=2 questions"
    wait_until(lambda: (house.read("status.json") or {})["daemon"]["max_agents"] == 3, what="the new setting")
    assert "group cannot change while the daemon runs" in house.said()

    house.send(signal.SIGTERM)
    assert house.ended() == 0
    assert manager.listen()[-1] == "STOPPING=1"


async def test_only_a_round_that_was_done_to_its_end_feeds_the_watchdog():
    fed: list[str] = []
    done: list[str] = []

    class Watching(Supervisor):
        def alive(self) -> None:
            fed.append("alive")

    hanging, hangs = asyncio.Event(), asyncio.Event()

    async def one_round() -> None:
        if len(done) == 2:
            hanging.set()
            await hangs.wait()
        done.append("round")

    engine = SimpleNamespace(wake=asyncio.Event(), stopping=Stopping(), supervisor=Watching(), say=lambda _: None)
    rounds = Rounds.__new__(Rounds)
    rounds._engine = engine  # type: ignore[assignment]
    rounds._endings = SimpleNamespace(take=lambda: None)  # type: ignore[assignment]
    rounds._round = one_round  # type: ignore[method-assign]
    rounds._is_over = lambda: False  # type: ignore[method-assign]
    rounds._seconds_to_sleep = lambda: 0.0  # type: ignore[method-assign]
    running = asyncio.create_task(rounds.run())
    await hanging.wait()
    assert (len(done), len(fed)) == (2, 2)
    engine.stopping.detached.set()
    await running
    assert len(fed) == 2


def test_at_a_terminal_a_hang_up_detaches_and_a_log_for_machines_is_json(tmp_path: Path):
    house = House(tmp_path)
    terminal, theirs = os.openpty()
    house.command()
    script = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    with (tmp_path / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *house.command(), "--log-json"],
            stdin=theirs,
            stdout=log,
            stderr=log,
            env=house.base_environment(),
            cwd=tmp_path,
        )
    house.process = process
    house.processes.append(process)
    try:
        wait_until(house.is_ready, what=lambda: f"the daemon; {house.said()}")
        os.close(theirs)
        os.close(terminal)
        assert house.ended() == 0
        lines = [json.loads(line) for line in house.said().splitlines()]
        assert all(line.keys() == {"time", "level", "message"} for line in lines)
        assert lines[-1]["message"].startswith("detaching")
    finally:
        house.close()
