"""The gateway's boot: `python -P -m haikud.gateway --spool ROOT --order-fd N --messages-fd N --tcp-fd N [--log DRESS]`.

In this order, with the standard library alone: memory and environment are closed to other processes of this user, the
order with the credential is read and its pipe closed. Then the rest is imported, gateway.lock is taken (a predecessor
that is ending is waited for), and it serves.

Exits with 0 after TERM, or when neither a daemon nor an attempt is left; with 1 and a line on stderr where it cannot
serve; with 2 on wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import resource
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from haikud.gateway.log import dress_lines, log
from haikud.sandbox.prctl import make_undumpable
from haikud.spool.log_lines import Dress

LOCK_SECONDS = 65.0
"""How long a predecessor is waited for: a little more than calls may take to end."""

_LOCK_TICK = 0.05
_MOST_DESCRIPTORS = 65_536
_MOST_ORDER_BYTES = 4 * 1024 * 1024


def main(argv: list[str]) -> int:
    """Boot, then serve."""
    arguments = _parse(argv)
    make_undumpable()
    dress_lines(arguments.log)
    data = _read_order(arguments.order_fd)
    listening = []
    for descriptor in (arguments.messages_fd, arguments.tcp_fd):
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
        one.setblocking(False)
        listening.append(one)
    _allow_many_connections()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # what clients do wrong is answered, not logged
    return _serve(arguments.spool.absolute(), data, listening)


def _serve(root: Path, data: bytes, listening: list[socket.socket]) -> int:
    from pydantic import ValidationError

    from haikud.contracts.gateway import GatewayOrder
    from haikud.contracts.masking import Masker, use_masker
    from haikud.gateway.serving import serve
    from haikud.spool.layout import SpoolLayout

    try:
        order = GatewayOrder.model_validate_json(data)
    except ValidationError as error:
        log(f"the order is not usable: {error.error_count()} faults")  # it holds the credential: nothing of it is shown
        return 1
    use_masker(Masker({order.credential: "API key"}))
    layout = SpoolLayout(root)
    try:
        lock = _take_lock(layout.gateway.lock)
        if lock is None:
            log(f"another gateway holds {layout.gateway.lock} and does not end: end it, then start this one again")
            return 1
        asyncio.run(serve(layout, order, listening))
    except OSError as error:
        log(f"cannot serve: {error}")
        return 1
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="haikud-gateway", description="Between agents and the Messages API.")
    parser.add_argument("--spool", type=Path, required=True, help="the spool's folder")
    parser.add_argument("--order-fd", type=int, required=True, help="read end of a pipe that holds the GatewayOrder")
    parser.add_argument("--messages-fd", type=int, required=True, help="listening socket of gateway/messages.sock")
    parser.add_argument("--tcp-fd", type=int, required=True, help="listening socket on loopback")
    parser.add_argument("--log", type=Dress, default=Dress.PEOPLE, help="how lines of the log look")
    return parser.parse_args(argv)


def _read_order(descriptor: int) -> bytes:
    data = b""
    try:
        while len(data) < _MOST_ORDER_BYTES and (part := os.read(descriptor, 65_536)):
            data += part
    finally:
        os.close(descriptor)
    return data


def _take_lock(path: Path) -> int | None:
    """The lock, held as long as we live; None where another gateway keeps it. OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                return None
            time.sleep(_LOCK_TICK)
        else:
            return descriptor


def _allow_many_connections() -> None:
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
