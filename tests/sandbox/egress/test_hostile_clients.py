"""Clients that mean no good: they get nowhere, and cost neither memory nor the others' service."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Callable

import pytest
from tests.sandbox.egress.conftest import HERE, Host, Way, read_all
from tests.support.waiting import wait_until

from haikud.sandbox.egress import server
from haikud.sandbox.egress.proxy import Limits

Listen = Callable[[Callable[[socket.socket], None]], int]


def test_a_head_without_an_end_is_refused_at_its_limit(ways: Callable[..., Way]):
    answer = ways().ask(b"GET http://a.test/ HTTP/1.1\r\nX: " + b"x" * 1_000_000)
    assert answer.startswith(b"HTTP/1.1 431")


def test_a_million_headers_are_refused(ways: Callable[..., Way]):
    answer = ways().ask(b"GET http://a.test/ HTTP/1.1\r\n" + b"a:b\r\n" * 10_000 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431")


def test_a_client_that_dribbles_is_left_at_its_time_limit(ways: Callable[..., Way]):
    way = ways(limits=Limits(head=0.3))
    with way.connect() as client:
        stopped = threading.Event()

        def dribble() -> None:
            with contextlib.suppress(OSError):
                while not stopped.wait(0.02):
                    client.sendall(b"G")

        thread = threading.Thread(target=dribble)
        thread.start()
        assert read_all(client) == b""
        stopped.set()
        thread.join()


def test_many_idle_connections_make_others_wait_and_no_more(
    ways: Callable[..., Way], web: Host, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    way = ways(f"{HERE}:{web.port}", limits=Limits(head=0.5))
    with contextlib.ExitStack() as idle:
        for _ in range(30):
            idle.enter_context(way.connect())
        answer = way.ask(f"GET http://{HERE}:{web.port}/after HTTP/1.1\r\n\r\n".encode())
    assert answer.endswith(b"welcome to /after")
    assert way.said == []


def test_a_flood_of_tunnels_fails_one_by_one(ways: Callable[..., Way], web: Host):
    way = ways(f"{HERE}:{web.port}")
    for _ in range(100):
        with way.connect() as client:
            client.sendall(b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n")  # and gone
    assert b"welcome" in way.ask(f"GET http://{HERE}:{web.port}/ HTTP/1.1\r\n\r\n".encode())
    assert len(way.said) == 1


def test_what_is_said_of_refused_hosts_has_an_end(ways: Callable[..., Way]):
    way = ways()
    for number in range(80):
        way.ask(f"CONNECT h{number}.test:443 HTTP/1.1\r\n\r\n".encode())
    assert len(way.said) == 51
    assert way.said[-1].endswith("no further host is named here")


def test_a_reader_that_does_not_read_stops_its_sender(ways: Callable[..., Way], listen: Listen):
    sent = [0]

    def pour(connected: socket.socket) -> None:
        connected.settimeout(None)
        piece = b"x" * 65_536
        with contextlib.suppress(OSError):
            while sent[0] < 500_000_000:
                sent[0] += connected.send(piece)

    port = listen(pour)
    way = ways(f"{HERE}:{port}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with way.tunnel(f"{HERE}:{port}"):
        last = -1

        def stands() -> bool:
            nonlocal last
            was, last = last, sent[0]
            return was == last and last > 0

        wait_until(stands, what="the sender's standstill")
        wait_until(stands)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sent[0] < 100_000_000
    assert grown < 50_000, f"{grown} KiB"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nab",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"-1\r\n",
        b"ffffffffffffffff\r\n",
        b"x" * 10_000,
        b"0\r\n" + b"a: b\r\n" * 200,
    ],
)
def test_a_body_in_broken_chunks_ends_the_request(ways: Callable[..., Way], listen: Listen, body: bytes):
    heard: list[bytes] = []
    port = listen(lambda connected: heard.append(read_all(connected)))
    way = ways(f"{HERE}:{port}")
    answer = way.ask(f"POST http://{HERE}:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 400")
    wait_until(lambda: heard)
    assert not heard[0].endswith(b"0\r\n\r\n")


def test_a_body_that_breaks_after_the_answer_has_begun_gets_no_second_one(ways: Callable[..., Way], listen: Listen):
    def answer_early(connected: socket.socket) -> None:
        connected.recv(65_536)
        connected.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
        read_all(connected)

    port = listen(answer_early)
    with ways(f"{HERE}:{port}").connect() as client:
        client.sendall(f"POST http://{HERE}:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"part"):
            answer += client.recv(65_536)
        client.sendall(b"nonsense\r\n")
        assert read_all(client) == b""


def test_a_body_that_ends_early_ends_the_request(ways: Callable[..., Way], listen: Listen):
    heard: list[bytes] = []
    port = listen(lambda connected: heard.append(read_all(connected)))
    with ways(f"{HERE}:{port}").connect() as client:
        client.sendall(f"POST http://{HERE}:{port}/ HTTP/1.1\r\nContent-Length: 100\r\n\r\nab".encode())
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    wait_until(lambda: heard)
    assert heard[0].endswith(b"\r\n\r\nab")


def test_hosts_that_mean_no_good_are_answered_for(ways: Callable[..., Way], listen: Listen):
    for said in (b"nonsense\r\n\r\n", b"", b"HTTP/1.1 101 Up\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000):

        def speak(connected: socket.socket, said: bytes = said) -> None:
            connected.recv(65_536)
            connected.sendall(said)

        port = listen(speak)
        answer = ways(f"{HERE}:{port}").ask(f"GET http://{HERE}:{port}/ HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith((b"HTTP/1.1 502", b"HTTP/1.1 431")), said[:20]


def test_a_greeting_of_tls_byte_by_byte_is_cut(ways: Callable[..., Way], listen: Listen):
    heard: list[bytes] = []
    port = listen(lambda connected: heard.append(connected.recv(1)))
    way = ways(f"a.test:{port}", names={"a.test": HERE})
    with way.tunnel(f"a.test:{port}") as client, contextlib.suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")
        for _ in range(5_000):
            client.sendall(b"\0")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    wait_until(lambda: heard)
    assert heard == [b""]
