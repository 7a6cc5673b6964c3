"""A way out on this machine's loopback, and hosts to reach or not to reach through it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from haikud.contracts.hosts import Address
from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.egress.gate import Gate
from haikud.sandbox.policy import Policy

HERE = "127.0.0.1"
SECONDS = 30.0


@dataclass
class Host:
    """A server on loopback, and what it was asked: `METHOD PATH`, the headers, the body."""

    port: int
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Host]:
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self._body()
            web.asked.append((f"{self.command} {self.path}", {k.lower(): v for k, v in self.headers.items()}, body))
            answer = b"welcome to " + self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815

        def _body(self) -> bytes:
            if "Transfer-Encoding" not in self.headers:
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HERE, 0), Answers) as server:
        web = Host(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield web
        server.shutdown()
        thread.join()


Conversation = Callable[[socket.socket], None]


@pytest.fixture
def listen() -> Iterator[Callable[[Conversation], int]]:
    """Start a TCP server that holds this conversation with whoever connects; its port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def hold(connected: socket.socket, conversation: Conversation) -> None:
        with connected, contextlib.suppress(OSError):
            connected.settimeout(SECONDS)
            conversation(connected)

    def accept(listener: socket.socket, conversation: Conversation) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = listener.accept()
                threads.append(threading.Thread(target=hold, args=(connected, conversation), daemon=True))
                threads[-1].start()

    def start(conversation: Conversation) -> int:
        listener = socket.create_server((HERE, 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=accept, args=(listener, conversation), daemon=True))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(SECONDS)


@dataclass
class Way:
    """A gate with one adopted proxy."""

    gate: Gate
    port: int
    said: list[str]

    def connect(self) -> socket.socket:
        return socket.create_connection((HERE, self.port), timeout=SECONDS)

    def ask(self, data: bytes) -> bytes:
        """Everything that comes back."""
        with self.connect() as client:
            client.sendall(data)
            return read_all(client)

    def tunnel(self, target: str) -> socket.socket:
        client = self.connect()
        client.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        answer = read_head(client)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return client


def read_all(client: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65_536):
            data += piece
    return data


def read_head(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n") and (piece := client.recv(1)):
        data += piece
    return data


@pytest.fixture
def ways() -> Iterator[Callable[..., Way]]:
    """Open a way out: `hosts` that are listed, `names` and what they resolve to, `environment` of the daemon."""
    made: list[Way] = []

    def make(
        *hosts: str,
        names: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        ports: tuple[int, ...] = (),
        **more: object,
    ) -> Way:
        def find(name: str) -> list[Address]:
            if name not in (names or {}):
                raise OSError(f"{name} was looked up")
            return [ip_address(text) for text in (names or {})[name].split()]

        said: list[str] = []
        policy = Policy(settings=SandboxSettings(hosts=list(hosts)), ports=ports)
        gate = Gate(policy, said.append, environment or {}, find=find, **more)  # type: ignore[arg-type]
        listener = socket.create_server((HERE, 0))
        port = int(listener.getsockname()[1])
        gate.adopt("proxy", port, listener)
        made.append(Way(gate, port, said))
        return made[-1]

    yield make
    for way in made:
        way.gate.close()
        if way.gate._thread is not None:
            way.gate._thread.join(SECONDS)
            assert not way.gate._thread.is_alive()
        assert not [line for line in way.said if "fault" in line or "failed" in line]
