"""The real process: its boot, its link to the daemon, its ends. The test plays the daemon and holds its lock."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.gateway_here import VERSION, ask, says
from tests.support.gateway_process import CREDENTIAL, GatewayProcess, hear_line
from tests.support.waiting import wait_until

from haikud.contracts.base import format_time, utc_now
from haikud.contracts.usage_journal import CallStep
from haikud.offline.scenario import StallFault, StatusFault
from haikud.offline.server import ScriptedApi
from haikud.spool.daemon_lock import hold_daemon_lock


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(says("some words " * 30)) as one:
        yield one


@pytest.fixture
def gateway(tmp_path: Path, api: ScriptedApi) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path / "spool", api.base_url) as one:
        yield one


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, api: ScriptedApi) -> Iterator[GatewayProcess]:
    """One for all the tests that leave it running."""
    with GatewayProcess(tmp_path_factory.mktemp("steady") / "spool", api.base_url) as one:
        yield one


class Call:
    """One call: what comes is read when it is asked for. Closed at the test's end."""

    all: ClassVar[list[Call]] = []

    def __init__(self, gateway: GatewayProcess, key: str, *, stream: bool = True) -> None:
        self.connection = http.client.HTTPConnection(gateway.base_url.removeprefix("http://"), timeout=60)
        self.answer: http.client.HTTPResponse | None = None
        self.all.append(self)
        body = json.dumps(ask(stream=stream))
        self.connection.request("POST", "/v1/messages", body, {"x-api-key": key, **VERSION})

    def begin(self) -> http.client.HTTPResponse:
        """Wait for the first bytes."""
        assert self.status() == 200
        assert self.answer is not None
        assert self.answer.read1(10)
        return self.answer

    def status(self) -> int:
        """Wait for the answer."""
        self.answer = self.connection.getresponse()
        return self.answer.status

    def close(self) -> None:
        """Hang up."""
        if self.answer is not None:
            self.answer.close()
        self.connection.close()


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    while Call.all:
        Call.all.pop().close()


@contextmanager
def linked(gateway: GatewayProcess) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.settimeout(20)
        folder = os.open(gateway.layout.gateway.folder, os.O_PATH)
        wait_until(gateway.layout.gateway.daemon.exists)
        peer.connect(f"/proc/self/fd/{folder}/daemon.sock")
        os.close(folder)
        yield peer


def say(peer: socket.socket, **message: Any) -> None:
    peer.sendall(json.dumps(message).encode() + b"\n")


def hear(peer: socket.socket, kind: str) -> dict[str, Any]:
    while (heard := hear_line(peer))["kind"] != kind:
        pass
    return heard


def test_the_credential_is_nowhere_to_be_read(steady: GatewayProcess, api: ScriptedApi):
    key = steady.token("secret.one")
    Call(steady, key).begin().read()
    assert steady.process is not None
    folder = Path(f"/proc/{steady.process.pid}")
    shown = [
        folder / "environ",
        folder / "cmdline",
        *(path for path in steady.layout.root.rglob("*") if path.is_file()),
    ]
    for path in shown:
        content = path.read_bytes()
        assert CREDENTIAL.encode() not in content, path
        assert key.encode() not in content, path
    open_now = {path.name: str(path.readlink()) for path in (folder / "fd").iterdir()}
    assert not {name for name, what in open_now.items() if "pipe:" in what} - {"1", "2"}  # the order's is closed
    assert json.loads(steady.layout.gateway.address.read_text())["pid"] == steady.process.pid


def test_the_daemon_gets_the_sockets_and_closes_attempts(steady: GatewayProcess, api: ScriptedApi):
    key = steady.token("plan.one")
    began = utc_now()
    with hold_daemon_lock(steady.layout), linked(steady) as peer:
        say(peer, kind="hello")
        data, descriptors, _, _ = socket.recv_fds(peer, 65_536, 4)
        hello = json.loads(data)
        sockets = [socket.socket(fileno=one) for one in descriptors]
        assert [one.getsockname() for one in sockets] == [one.getsockname() for one in steady._sockets]
        assert [one.family for one in sockets] == [socket.AF_UNIX, socket.AF_INET]
        for one in sockets:
            one.close()
        assert steady.process is not None
        assert (hello["pid"], hello["order_digest"]) == (steady.process.pid, steady.order.digest)
        assert hello["pause"] is None

        Call(steady, key).begin().read()
        news = hear(peer, "news")
        assert news["day_spent_usd"] > hello["day_spent_usd"]

        api.inject(StallFault(kind="stall", after_events=5, seconds=60))
        cut = Call(steady, key).begin()
        say(peer, kind="close", ref="plan.one", attempt=1, since=format_time(began))
        closed = hear(peer, "closed")
        with pytest.raises((http.client.HTTPException, OSError)):
            cut.read()
        account = closed["account"]
        assert (closed["ref"], account["count"], account["in_flight"], account["entries"]) == ("plan.one", 2, 0, [])
        assert 0 < account["estimated_usd"] < account["total"]["cost_usd"]
        assert closed["day_spent_usd"] == pytest.approx(hello["day_spent_usd"] + account["total"]["cost_usd"])
        assert Call(steady, key).status() == 401  # its file is still there

        say(peer, kind="close", ref="plan.one", attempt=1, since=format_time(began))  # told again, from the journal
        again = hear(peer, "closed")["account"]
        assert again["total"] == account["total"]
        assert again["estimated_usd"] == account["estimated_usd"]


def test_a_pause_is_news_and_resume_ends_it(steady: GatewayProcess, api: ScriptedApi):
    key = steady.token("paused.one")
    with hold_daemon_lock(steady.layout), linked(steady) as peer:
        say(peer, kind="hello")
        hear(peer, "hello")
        api.inject(StatusFault(kind="status", status=429, retry_after=900))
        assert Call(steady, key, stream=False).status() == 429
        assert hear(peer, "news")["pause"]["kind"] == "rate_limit"
        say(peer, kind="resume")
        while hear(peer, "news")["pause"] is not None:
            pass
        assert Call(steady, key, stream=False).status() == 200


def test_only_the_daemon_is_listened_to(steady: GatewayProcess):
    with linked(steady) as peer:  # nobody holds the lock
        assert peer.recv(1) == b""
    code = "import socket,sys; s=socket.socket(1); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))"
    with hold_daemon_lock(steady.layout), linked(steady) as peer:
        said = subprocess.run([sys.executable, "-c", code, steady.layout.gateway.daemon], check=False, timeout=30)
        assert said.returncode == 0  # hung up on, though the true daemon is connected
        say(peer, kind="hello")
        assert hear(peer, "hello")["pid"]
        with linked(steady) as newer:
            say(newer, kind="hello")
            assert hear(newer, "hello")["pid"]
            assert peer.recv(1) == b""


def test_out_of_descriptors_it_goes_on_when_there_are_some(steady: GatewayProcess, api: ScriptedApi):
    process = steady.process
    assert process is not None
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    with linked(steady):
        wait_until(lambda: "cannot be listened to" in steady.log.read_text())
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
    assert Call(steady, steady.token("narrow.one"), stream=False).status() == 200
    assert process.poll() is None


def test_killed_in_mid_stream_its_call_counts_as_the_most_once(gateway: GatewayProcess, api: ScriptedApi):
    key = gateway.token("plan.one")
    api.inject(StallFault(kind="stall", after_events=5, seconds=60))
    cut = Call(gateway, key).begin()
    gateway.kill()
    with pytest.raises((http.client.HTTPException, OSError)):
        cut.read()
    waiting = Call(gateway, key)  # the kernel takes the connection: the sockets are the daemon's
    gateway.start()
    assert waiting.begin().read()
    steps = [line.step for line in gateway.journal()]
    assert steps == [CallStep.RESERVED, CallStep.LOST, CallStep.RESERVED, CallStep.USED]
    lost, used = gateway.charges()
    assert (lost.entry.estimated, used.entry.estimated) == (True, False)
    assert lost.entry.cost_usd > used.entry.cost_usd
    gateway.kill()
    gateway.start()
    assert len(gateway.charges()) == 2


def test_term_lets_a_call_end_and_the_next_gateway_waits_for_it(gateway: GatewayProcess, api: ScriptedApi):
    key = gateway.token("plan.one")
    api.inject(StallFault(kind="stall", after_events=5, seconds=3))
    call = Call(gateway, key).begin()
    kept = Call(gateway, key, stream=False)
    assert kept.status() == 200
    assert kept.answer is not None
    kept.answer.read()
    first = gateway.process
    assert first is not None
    gateway.term()
    assert kept.connection.sock is not None
    assert kept.connection.sock.recv(1) == b""  # nothing new comes in by connections that were kept
    assert first.poll() is None
    next_call = Call(gateway, key)
    gateway.start()  # serves only when the other one has ended
    assert first.wait(10) == 0
    assert b"message_stop" in call.read()
    assert b"message_stop" in next_call.begin().read()
    assert [charge.entry.estimated for charge in gateway.charges()] == [False] * 3


def test_a_second_term_cuts_what_is_under_way(gateway: GatewayProcess, api: ScriptedApi):
    key = gateway.token("plan.one")
    api.inject(StallFault(kind="stall", after_events=5, seconds=60))
    call = Call(gateway, key).begin()
    gateway.term()
    wait_until(lambda: "ending" in gateway.log.read_text())
    gateway.term()
    assert gateway.wait() == 0
    with pytest.raises((http.client.HTTPException, OSError)):
        call.read()
    assert [charge.line.step for charge in gateway.charges()] == [CallStep.USED]
    assert gateway.charges()[0].entry.estimated


def test_an_order_that_is_none_is_not_shown(steady: GatewayProcess):
    reading, writing = os.pipe()
    os.write(writing, b'{"credential": "the-secret", "version": 7}')
    os.close(writing)
    fds = [reading, *(one.fileno() for one in steady._sockets)]
    names = ["--order-fd", "--messages-fd", "--tcp-fd"]
    arguments = [part for pair in zip(names, map(str, fds), strict=True) for part in pair]
    command = [sys.executable, "-P", "-m", "haikud.gateway", "--spool", str(steady.layout.root), *arguments]
    said = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, check=False, timeout=60)
    os.close(reading)
    assert said.returncode == 1
    assert "not usable" in said.stderr
    assert "secret" not in said.stderr
