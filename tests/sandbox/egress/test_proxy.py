"""The proxy over real sockets: what gets through, what does not, and what is said."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
from tests.sandbox.egress.conftest import HERE, Host, Way, read_all, read_head
from tests.support.waiting import wait_until

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.egress.gate import Gate
from haikud.sandbox.egress.proxy import Limits
from haikud.sandbox.policy import Policy


def echo(connected: socket.socket) -> None:
    while data := connected.recv(65_536):
        connected.sendall(data)


def test_a_listed_host_is_reached_and_hears_the_host_of_the_request(ways: Callable[..., Way], web: Host):
    way = ways(f"{HERE}:{web.port}")
    answer = way.ask(f"GET http://{HERE}:{web.port}/a?b HTTP/1.1\r\nHost: evil.test\r\nX-A: b\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\nConnection: close\r\n\r\nwelcome to /a?b")
    (asked,) = web.asked
    assert asked == ("GET /a?b", {"host": f"{HERE}:{web.port}", "x-a": "b", "connection": "close"}, b"")
    assert way.said == []


def test_what_is_not_listed_is_refused_before_its_name_is_looked_up(ways: Callable[..., Way], web: Host):
    way = ways(f"{HERE}:{web.port}", "a.test")
    for line, host in [
        ("CONNECT b.test:443", "b.test:443"),
        ("GET http://b.test/", "b.test:80"),
        ("CONNECT a.test:22", "a.test:22"),
        (f"GET http://localhost:{web.port}/", f"localhost:{web.port}"),
        ("CONNECT 169.254.169.254:80", "169.254.169.254:80"),
    ]:
        answer = way.ask(f"{line} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()).decode()
        assert answer.startswith("HTTP/1.1 403 Not listed in sandbox.hosts\r\n"), line
        assert f"{host} is not among the hosts that the settings list (sandbox.hosts)" in answer
        way.ask(f"{line} HTTP/1.1\r\n\r\n".encode())
        assert sum(host in said for said in way.said) == 1, "told once"
    assert web.asked == []


def test_a_listed_name_that_points_into_this_network_is_refused(ways: Callable[..., Way], web: Host):
    names = {"a.test": HERE, "m.test": "169.254.169.254", "x.a.test": HERE}
    way = ways("a.test", "*.a.test", "m.test:80", names=names)
    for host in ("a.test:80", "x.a.test:80", "m.test:80"):
        answer = way.ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403 Not a public address"), answer
    open_way = ways(f"a.test:{web.port}", names={"a.test": f"169.254.169.254 {HERE}"})
    assert open_way.ask(f"GET http://a.test:{web.port}/ HTTP/1.1\r\n\r\n".encode()).endswith(b"welcome to /")


def test_a_tunnel_passes_bytes_on_and_the_end_of_each_half(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    def count(connected: socket.socket) -> None:
        connected.sendall(b"220 speaks first\r\n")
        total = 0
        while data := connected.recv(65_536):
            total += len(data)
        connected.sendall(b"%d" % total)

    port = listen(count)
    with ways(f"{HERE}:{port}").tunnel(f"{HERE}:{port}") as client:
        assert client.recv(100) == b"220 speaks first\r\n"
        client.sendall(b"x" * 3_000_000)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"3000000"


def test_what_is_sent_with_the_request_for_a_tunnel_goes_into_it(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    port = listen(echo)
    with ways(f"{HERE}:{port}").connect() as client:
        client.sendall(f"CONNECT {HERE}:{port} HTTP/1.1\r\n\r\nearly".encode())
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(b"\r\n\r\nearly")


def test_bodies_arrive_whole(ways: Callable[..., Way], web: Host):
    way, url = ways(f"{HERE}:{web.port}"), f"http://{HERE}:{web.port}/"
    body = bytes(range(256)) * 1_000
    sized = f"POST {url} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    assert b"welcome" in way.ask(sized)
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:70_000], body[70_000:]))
    head = f"POST {url} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b"welcome" in way.ask(head + chunks + b"0\r\nTrailer: x\r\n\r\n")
    assert [asked[2] == body for asked in web.asked] == [True, True]


def test_a_second_request_on_the_connection_is_not_heard(ways: Callable[..., Way], web: Host):
    way = ways(f"{HERE}:{web.port}")
    one = f"GET http://{HERE}:{web.port}/one HTTP/1.1\r\n\r\n"
    assert way.ask(f"{one}GET /two HTTP/1.1\r\nHost: b.test\r\n\r\n".encode()).count(b"HTTP/1.1 200") == 1
    sized = f"POST http://{HERE}:{web.port}/three HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /four HTTP/1.1\r\n\r\n"
    assert way.ask(sized.encode()).count(b"HTTP/1.1 200") == 1
    assert [asked[0] for asked in web.asked] == ["GET /one", "POST /three"]
    assert web.asked[-1][2] == b"ab"


def test_a_tunnel_that_greets_another_host_is_cut(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    heard: list[bytes] = []
    port = listen(lambda connected: heard.append(connected.recv(65_536)))
    way = ways(f"a.test:{port}", names={"a.test": HERE})
    context = ssl.create_default_context()
    for name in ("b.test", "a.test"):
        with way.tunnel(f"a.test:{port}") as client, pytest.raises(OSError):
            context.wrap_socket(client, server_hostname=name)
    wait_until(lambda: len(heard) == 2)
    assert sum(b"a.test" in data for data in heard) == 1
    assert not any(b"b.test" in data for data in heard)
    assert len([line for line in way.said if "greeted 'b.test'" in line]) == 1


def test_the_machines_own_proxy_is_gone_through_and_its_password_stays_outside(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    heard: list[bytes] = []

    def proxy(connected: socket.socket) -> None:
        heard.append(read_head(connected))
        if heard[-1].startswith(b"CONNECT refused"):
            connected.sendall(b"HTTP/1.1 407 No\r\n\r\n")
        elif heard[-1].startswith(b"CONNECT"):
            connected.sendall(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nthrough")
        else:
            connected.sendall(b"HTTP/1.1 200 OK\r\n\r\nplain")

    upstream = f"http://me:secret@{HERE}:{listen(proxy)}"
    way = ways("a.test", "refused.test", environment={"https_proxy": upstream, "http_proxy": upstream})
    with way.tunnel("a.test:443") as client:
        assert read_all(client) == b"through"
    request = b"GET http://a.test/x HTTP/1.1\r\nProxy-Authorization: Basic aW5zaWRl\r\n\r\n"
    assert way.ask(request).endswith(b"\r\n\r\nplain")
    refused = way.ask(b"CONNECT refused.test:443 HTTP/1.1\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 502")
    assert b"the daemon's own proxy did not connect" in refused
    expected = b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"
    assert all(head.count(b"Proxy-Authorization") == 1 and expected in head for head in heard)
    assert [head.split(b"\r\n")[0] for head in heard[:2]] == [
        b"CONNECT a.test:443 HTTP/1.1",
        b"GET http://a.test/x HTTP/1.1",
    ]
    assert not any("secret" in text or "bWU6" in text for text in [*way.gate.environment(1).values(), *way.said])
    assert way.ask(b"CONNECT b.test:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")


def test_a_proxy_of_the_machine_that_cannot_be_used_is_not_passed_by(ways: Callable[..., Way]):
    way = ways("a.test", names={"a.test": HERE}, environment={"HTTPS_PROXY": "socks5://p.test:1080"})
    assert b"socks5://, which haikud cannot go through" in way.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")


def test_hosts_that_cannot_be_reached_are_told_as_such(ways: Callable[..., Way]):
    with socket.socket() as closed:
        closed.bind((HERE, 0))
        port = closed.getsockname()[1]
        way = ways(f"{HERE}:{port}", "unknown.test")
        assert way.ask(f"CONNECT {HERE}:{port} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 502")
        answer = way.ask(b"CONNECT unknown.test:443 HTTP/1.1\r\n\r\n")
    assert b"the name unknown.test was not found" in answer


def test_a_port_is_passed_on_as_it_is_and_at_once(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    port = listen(echo)
    way = ways()
    listener = socket.create_server((HERE, 0))
    way.gate.adopt("port", port, listener)
    with socket.create_connection(listener.getsockname(), timeout=30) as client:
        slowest = 0.0
        for number in range(20):
            began = time.monotonic()
            client.sendall(b"%04d" % number)
            assert client.recv(4) == b"%04d" % number
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0


def test_a_program_that_asks_the_proxy_for_the_gateway_reaches_it(ways: Callable[..., Way], web: Host):
    way = ways(ports=(web.port,), names={"localhost": HERE})
    for host in (HERE, "localhost"):
        answer = way.ask(f"GET http://{host}:{web.port}/v1 HTTP/1.1\r\n\r\n".encode())
        assert answer.endswith(b"welcome to /v1")


def test_a_port_that_nobody_listens_at_ends_the_connection(ways: Callable[..., Way]):
    with socket.socket() as closed:
        closed.bind((HERE, 0))
        way, listener = ways(), socket.create_server((HERE, 0))
        way.gate.adopt("port", closed.getsockname()[1], listener)
        place = listener.getsockname()
        with pytest.raises(ConnectionError), socket.create_connection(place, timeout=30) as client:
            assert client.recv(1) == b""
            raise ConnectionAbortedError


def test_the_end_of_a_command_cuts_what_was_its_own(
    ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]
):
    port = listen(echo)
    way = ways(f"{HERE}:{port}")
    with way.tunnel(f"{HERE}:{port}") as client:
        way.gate.release()
        assert read_all(client) == b""
    wait_until(lambda: _is_refused(way.port), what="the listener's end")
    listener = socket.create_server((HERE, 0))
    way.gate.adopt("proxy", 3128, listener)  # the next command's
    way.port = listener.getsockname()[1]
    with way.tunnel(f"{HERE}:{port}") as client:
        client.sendall(b"again")
        assert client.recv(5) == b"again"


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection((HERE, port), timeout=30).close()
    except ConnectionError:
        return True
    return False


def test_on_the_machines_loopback_the_proxy_asks_for_the_attempts_password(ways: Callable[..., Way], web: Host):
    way = ways(f"{HERE}:{web.port}")
    way.port = way.gate.landlock_port()
    assert way.gate.landlock_port() == way.port
    request = f"GET http://{HERE}:{web.port}/ HTTP/1.1\r\n"
    for header in ("", "Proxy-Authorization: Basic aGFpa3VkOg==\r\n", "Proxy-Authorization: Bearer x\r\n"):
        answer = way.ask(f"{request}{header}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 407")
        assert b'Proxy-Authenticate: Basic realm="haikud"' in answer
    assert web.asked == []
    environment = way.gate.environment(way.port)
    found = re.fullmatch(rf"http://(haikud:[\w-]+)@{HERE}:{way.port}", environment["https_proxy"])
    assert found is not None
    import base64

    given = base64.b64encode(found[1].encode()).decode()
    assert b"welcome" in way.ask(f"{request}Proxy-Authorization: Basic {given}\r\n\r\n".encode())
    way.gate.release()  # ends connections, not the listener
    assert b"welcome" in way.ask(f"{request}Proxy-Authorization: Basic {given}\r\n\r\n".encode())
    assert "@" not in way.gate.environment(3128)["https_proxy"]


def test_nothing_starts_before_it_is_needed_and_nothing_is_served_after_the_end():
    before = threading.active_count()
    gate = Gate(Policy(settings=SandboxSettings(hosts=["a.test"])), print, {})
    gate.environment(3128)
    gate.release()
    assert threading.active_count() == before
    gate.close()
    gate.close()
    listener = socket.create_server((HERE, 0))
    gate.adopt("proxy", 3128, listener)
    assert listener.fileno() == -1
    assert threading.active_count() == before


def test_without_a_network_no_host_is_listed():
    settings = SandboxSettings(network="off", hosts=["a.test"])
    gate = Gate(Policy(settings=settings), print, {})
    assert gate._hosts._entries == []
    gate.close()


def test_a_close_right_after_the_first_socket_leaves_nothing_open():
    gate = Gate(Policy(), print, {})
    listener = socket.create_server((HERE, 0))
    gate.adopt("proxy", 3128, listener)
    gate.close()
    assert gate._thread is not None
    gate._thread.join(30)
    assert not gate._thread.is_alive()
    assert listener.fileno() == -1


def test_silence_ends_a_connection(ways: Callable[..., Way], listen: Callable[[Callable[[socket.socket], None]], int]):
    port = listen(echo)
    way = ways(f"{HERE}:{port}", limits=Limits(head=0.1, silence=0.2))
    with way.tunnel(f"{HERE}:{port}") as client:
        assert read_all(client) == b""
    with way.connect() as client:
        assert read_all(client) == b""


def test_nothing_is_said_after_the_end(ways: Callable[..., Way]):
    way = ways()
    way.gate._tell("before")
    way.gate.close()
    way.gate._tell("after")
    assert way.said == ["before"]
