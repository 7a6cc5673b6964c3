"""The two sockets on which the gateway is called. The daemon makes them, keeps them, and hands them on.

They outlive every gateway: while one is started, calls wait in their backlog, and nobody else can take the port. They
outlive the daemon too, in the gateway that runs on. `messages.sock` can be reached by the daemon's user only; where its
path is longer than a socket's address may be, it is named through a descriptor of its folder.

Fails with OSError.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.spool.durable import make_folder, write_quickly
from haikud.spool.layout import GatewayPaths
from haikud.spool.reading import UntrustedFile, read_untrusted

HOST = "127.0.0.1"

BACKLOG = 1024
"""Calls that may wait while no gateway takes them; the kernel's own limit (somaxconn) may be lower."""

_MOST_ADDRESS_BYTES = 100
"""Of the 108 that the path of a unix socket may have."""

_MOST_FILE_BYTES = 4096


@dataclass(frozen=True)
class Sockets:
    """Both, listening."""

    messages: socket.socket
    tcp: socket.socket

    @property
    def port(self) -> int:
        """Of the one on loopback."""
        return int(self.tcp.getsockname()[1])

    @property
    def base_url(self) -> str:
        """What an agent calls that needs TCP."""
        return f"http://{HOST}:{self.port}"

    def close(self) -> None:
        """Let go of our copies; a gateway has its own."""
        self.messages.close()
        self.tcp.close()


def make_sockets(paths: GatewayPaths) -> Sockets:
    """Both, where no gateway is alive that has them: on the same port as before, if that is free."""
    make_folder(paths.folder)
    paths.folder.chmod(0o700)
    tcp = _listen_on_loopback(_last_port(paths))
    try:
        messages = _listen_at(paths.messages)
    except BaseException:
        tcp.close()
        raise
    made = Sockets(messages, tcp)
    _tell_address(paths, made)
    return made


def listen_again(paths: GatewayPaths, sockets: Sockets) -> Sockets:
    """The same with another messages.sock: somebody has removed it, and what is not there cannot be found."""
    made = Sockets(_listen_at(paths.messages), sockets.tcp)
    sockets.messages.close()
    return made


def adopt_sockets(paths: GatewayPaths, descriptors: list[int]) -> Sockets:
    """Those of a gateway that runs on, as it has sent them: messages.sock's first. They are ours from now on."""
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    families = [one.family for one in found]
    if families != [socket.AF_UNIX, socket.AF_INET]:
        for one in found:
            one.close()
        msg = f"the gateway sent {len(found)} sockets of families {families}, and not its own two"
        raise OSError(msg)
    taken = Sockets(*found)
    with suppress(OSError):
        _tell_address(paths, taken)
    return taken


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """An address by which a unix socket can be bound or reached, however long its path is."""
    if len(os.fsencode(path)) <= _MOST_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _listen_at(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a gateway that is gone
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(path) as address:
            made.bind(address)
        path.chmod(0o600)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _listen_on_loopback(wanted: int) -> socket.socket:
    for port in dict.fromkeys((wanted, 0)):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not hold the port
            made.bind((HOST, port))
            made.listen(BACKLOG)
        except OSError:
            made.close()
            if port == 0:
                raise
            continue
        return made
    raise AssertionError(wanted)


def _last_port(paths: GatewayPaths) -> int:
    """The port of the last gateway; 0 where nobody knows."""
    try:
        port = json.loads(read_untrusted(paths.address, _MOST_FILE_BYTES))["port"]
    except (UntrustedFile, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return port if isinstance(port, int) and 1024 <= port <= 65_535 else 0


def _tell_address(paths: GatewayPaths, sockets: Sockets) -> None:
    told = {"port": sockets.port, "base_url": sockets.base_url}
    write_quickly(paths.address, json.dumps(told, indent=2).encode() + b"\n")
