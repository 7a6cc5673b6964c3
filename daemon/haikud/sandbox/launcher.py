"""The runner's end of inside.py: its orders go in, listening sockets and words of failure come out."""

from __future__ import annotations

import array
import marshal
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from haikud.sandbox.view import python

PLACE = Path(__file__).with_name("inside.py")
_ROOT = Path(__file__).parents[2]
_MOST_SOCKETS = 64
_MOST_WORDS = 4096


def in_memory(data: bytes) -> int:
    """A descriptor to read that from, for the caller to close."""
    descriptor = os.memfd_create("haikud")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Launcher:
    """One start of inside.py. `adopt` takes the listening sockets, in the order of `listen`."""

    def __init__(
        self,
        *,
        limits: list[tuple[int, int]],
        environment: Mapping[str, str],
        listen: list[int] | None = None,
        landlock: Mapping[str, Any] | None = None,
        adopt: Callable[[int, socket.socket], None] | None = None,
    ) -> None:
        orders = {
            "limits": limits,
            "listen": listen or [],
            "landlock": landlock,
            "environment": dict(environment),
            "root": str(_ROOT),
        }
        self._orders = in_memory(marshal.dumps(orders))
        try:
            self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except BaseException:
            os.close(self._orders)
            raise
        self._ports, self._adopt = listen or [], adopt
        self._words = b""
        self._thread: threading.Thread | None = None

    @property
    def descriptors(self) -> tuple[int, int]:
        """What the launcher must inherit."""
        return self._orders, self._theirs.fileno()

    def argv(self, place: Path = PLACE) -> list[str]:
        """The launcher, as what to put before a command."""
        return [python(), "-I", "-S", "-E", str(place), *map(str, self.descriptors)]

    def serve(self) -> None:
        """Take the sockets as soon as they come, in a thread."""
        if self._ports:
            self._thread = threading.Thread(target=self._take, name="sandbox-sockets", daemon=True)
            self._thread.start()

    def finish(self) -> str:
        """The command has ended: what the launcher said had gone wrong, or nothing."""
        self._theirs.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        else:
            self._take()
        return self._words.decode(errors="replace")

    def close(self) -> None:
        """Give back the sockets, whatever came."""
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self.finish()
        os.close(self._orders)
        self._theirs.close()
        self._ours.close()

    def _take(self) -> None:
        space = socket.CMSG_SPACE(_MOST_SOCKETS * 4)
        while True:
            try:
                words, control, _, _ = self._ours.recvmsg(_MOST_WORDS, space, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            if not words:
                return
            received = array.array("i")
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    received.frombytes(data[: len(data) - len(data) % received.itemsize])
            if received:
                self._hand_over(list(received))
            else:
                self._words = words

    def _hand_over(self, descriptors: list[int]) -> None:
        for number, descriptor in enumerate(descriptors):
            if self._adopt is None or number >= len(self._ports):
                os.close(descriptor)
            else:
                self._adopt(self._ports[number], socket.socket(fileno=descriptor))
