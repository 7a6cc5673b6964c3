"""Plays a gateway for the tests of the daemon's side: says who it is, hands over its sockets, closes accounts.

What else it does stands in files beside the spool: `dies` (at once), `dumb` (never answers), `stays` (ignores TERM).
Only the standard library: it starts in no time.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spool", type=Path)
    for name in ("--order-fd", "--messages-fd", "--tcp-fd"):
        parser.add_argument(name, type=int)
    given = parser.parse_known_args()[0]
    with os.fdopen(given.order_fd, "rb") as pipe:
        order = pipe.read()
    beside = given.spool.parent
    with (beside / "started").open("a") as told:
        told.write(f"{os.getpid()} {sorted(os.environ)}\n")
    if (beside / "dies").exists():
        return 7
    if (beside / "stays").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = os.open(given.spool / "gateway/gateway.lock", os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            break
    os.chdir(given.spool / "gateway")  # a socket's path may be short only
    Path("daemon.sock").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("daemon.sock")
        listener.listen(4)
        while True:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as lines:
                for line in lines:
                    if not (beside / "dumb").exists():
                        answer(peer, json.loads(line), order, [given.messages_fd, given.tcp_fd])


def answer(peer: socket.socket, asked: dict[str, object], order: bytes, sockets: list[int]) -> None:
    told: dict[str, object] = {"kind": asked["kind"], "day_spent_usd": 1.5}
    if asked["kind"] == "hello":
        version = json.loads(order)["version"]
        told |= {"version": version, "order_digest": hashlib.sha256(order).hexdigest(), "pid": os.getpid()}
        socket.send_fds(peer, [json.dumps(told).encode() + b"\n"], sockets)
        return
    if asked["kind"] == "close":
        account = {"count": 1, "total": {"requests": 1, "cost_usd": 0.25}}
        told |= {"kind": "closed", "ref": asked["ref"], "attempt": asked["attempt"], "account": account}
    news = {"kind": "news", "day_spent_usd": 2.5}
    peer.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in (news, told)))


if __name__ == "__main__":
    sys.exit(main())
