"""A proxy that lets everybody go anywhere: what the attempts on haikud's own would do to a careless one."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class _Talk(socketserver.StreamRequestHandler):
    timeout = 2

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while first := self.rfile.readline().decode():
                method, target, _ = first.split()
                head = first.encode()
                while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                    head += line
                self._pass(method, target, head + b"\r\n")
                if method == "CONNECT":
                    return

    def _pass(self, method: str, target: str, head: bytes) -> None:
        address = urlsplit(target if "//" in target else f"//{target}")
        with socket.create_connection((address.hostname, address.port or 80), timeout=2) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                there.sendall(self.connection.recv(4096))
            else:
                there.sendall(head)
                self.wfile.write(there.recv(4096))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def open_proxy() -> Iterator[str]:
    """Its address."""
    with _Server(("127.0.0.1", 0), _Talk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
