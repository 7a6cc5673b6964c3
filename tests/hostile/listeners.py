"""Somebody to reach: TCP, UDP, unix sockets by path and by abstract name, and a terminal; all note what they hear."""

from __future__ import annotations

import contextlib
import os
import pty
import selectors
import socket
import threading
import time
from pathlib import Path

HURRY = 0.02


class Listeners:
    """Open from the start; what was said to each is kept until `close`."""

    def __init__(self, token: str) -> None:
        self._said: dict[str, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._open: list[socket.socket | int] = []
        self._over = threading.Event()
        self.ports: dict[str, int] = {}
        self.ports["tcp"] = self._inet("tcp", socket.AF_INET, "0.0.0.0")  # noqa: S104 -- to be found by 127.1.2.3 too
        with contextlib.suppress(OSError):
            self.ports["tcp6"] = self._inet("tcp6", socket.AF_INET6, "::1")
        self.ports.setdefault("tcp6", 9)
        self.ports["listed"] = self._inet("listed", socket.AF_INET, "127.0.0.1")
        self.ports["udp"] = self._inet("udp", socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM)
        self._listen("abstract", socket.AF_UNIX, f"\0haikud-hostile-{token}", socket.SOCK_STREAM)
        self._listen("abstract datagram", socket.AF_UNIX, f"\0haikud-hostile-{token}-datagram", socket.SOCK_DGRAM)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.ports["free"] = free.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def unix(self, name: str, path: Path, *, datagrams: bool = False) -> None:
        """Listen at a path, however long."""
        folder = os.open(path.parent, os.O_PATH)
        kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        self._listen(name, socket.AF_UNIX, f"/proc/self/fd/{folder}/{path.name}", kind)
        os.close(folder)

    def tcp(self, name: str, host: str, port: int) -> None:
        """Listen there, where nobody else does."""
        with contextlib.suppress(OSError):
            self._listen(name, socket.AF_INET, (host, port), socket.SOCK_STREAM)

    def terminal(self) -> str:
        """A terminal that somebody sits at; its name."""
        master, slave = pty.openpty()
        self._open += [master, slave]
        os.set_blocking(master, False)
        self._selector.register(master, selectors.EVENT_READ, "terminal")
        return os.ttyname(slave)

    def heard(self, name: str) -> str:
        """What was said there so far."""
        return self._said.get(name, b"").decode("utf-8", "replace")

    def close(self) -> None:
        """Be gone."""
        self._over.set()
        self._thread.join()
        self._selector.close()
        for each in self._open:
            if isinstance(each, int):
                os.close(each)
            else:
                each.close()

    def _inet(self, name: str, family: int, host: str, kind: int = socket.SOCK_STREAM) -> int:
        return int(self._listen(name, family, (host, 0), kind).getsockname()[1])

    def _listen(self, name: str, family: int, address: object, kind: int) -> socket.socket:
        made = socket.socket(family, kind)
        self._open.append(made)
        made.bind(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            made.listen(16)
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ, name)
        return made

    def _serve(self) -> None:
        tried = 0.0
        while not self._over.is_set():
            for key, _ in self._selector.select(HURRY):
                self._take(key.fileobj, key.data)
            if time.monotonic() - tried > HURRY:
                tried = time.monotonic()
                self._visit()

    def _take(self, ready: object, name: str) -> None:
        with contextlib.suppress(OSError):
            if isinstance(ready, int):
                self._note(name, os.read(ready, 4096))
            elif isinstance(ready, socket.socket) and ready.type == socket.SOCK_DGRAM:
                self._note(name, ready.recv(4096))
            elif isinstance(ready, socket.socket):
                caller = ready.accept()[0]
                caller.settimeout(1)
                with caller:
                    self._note(name, said := caller.recv(4096))
                    if said.startswith(b"GET "):
                        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    def _visit(self) -> None:
        """Whoever offers a service at the free port is called."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports["free"]), 0.5) as caller:
            caller.settimeout(0.5)
            self._note("visited", caller.recv(4096))

    def _note(self, name: str, said: bytes) -> None:
        self._said[name] = self._said.get(name, b"") + b" " + said
