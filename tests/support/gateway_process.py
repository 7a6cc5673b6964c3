"""The real gateway process, started as the daemon starts it (listening sockets, order by a pipe), without a daemon.

with GatewayProcess(tmp_path / "spool", api.base_url) as gateway:
    key = gateway.token("plan.task")                # what an attempt presents
    ... base_url=gateway.base_url, api_key=key ...  # or over gateway.socket
    gateway.kill(); gateway.start()                 # the sockets stay, as they do with the daemon
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptToken, GatewayOrder
from haikud.contracts.settings import ApiSettings, ModelPrice
from haikud.contracts.usage_journal import JournalLine
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump, iter_lines
from haikud.spool.usage_journal import Charge, read_charges

CREDENTIAL = "sk-ant-api03-the-real-one-of-this-test"


def an_order(base_url: str, **api: Any) -> GatewayOrder:
    """What a daemon would order, with short waits."""
    prices: dict[str, ModelPrice] = api.pop("prices", {})
    fields = {"retry_waits": [0.05, 0.1], "stall_seconds": 5.0, "connect_seconds": 5.0, **api}
    return GatewayOrder(
        version="0.1.0",
        credential=CREDENTIAL,
        base_url=base_url,
        api=ApiSettings.model_validate(fields),
        prices=prices,
        sonnet_model="claude-sonnet-5-5",
    )


def a_token(ref: str, attempt: int = 1, **changed: Any) -> tuple[str, AttemptToken]:
    """A token as the engine makes it: what is presented, and what its file says."""
    plan, _, task = ref.partition(".")
    key = f"haikud.{ref}.{attempt}.{secrets.token_hex(32)}"
    now = utc_now()
    fields = {
        "digest": hashlib.sha256(key.encode()).hexdigest(),
        "ref": ref,
        "plan": plan,
        "task": task or plan,
        "attempt": attempt,
        "role": "tester",
        "issued_at": now,
        "plan_since": now,
        "models": ["claude-haiku-5-5"],
        "task_usd": 0.05,
        "plan_usd": 5.0,
        "day_usd": 20.0,
    }
    return key, AttemptToken.model_validate(fields | changed)


def issue_token(layout: SpoolLayout, ref: str, attempt: int = 1, **changed: Any) -> str:
    """Give an attempt a token."""
    key, token = a_token(ref, attempt, **changed)
    path = layout.gateway.token(ref, attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump(token))
    return key


def listen_for_gateway(layout: SpoolLayout) -> tuple[socket.socket, socket.socket]:
    """The daemon's part: messages.sock and a port on loopback, listening."""
    layout.gateway.folder.mkdir(parents=True, exist_ok=True)
    messages = socket.socket(socket.AF_UNIX)
    folder = os.open(layout.gateway.folder, os.O_PATH | os.O_DIRECTORY)
    layout.gateway.messages.unlink(missing_ok=True)
    messages.bind(f"/proc/self/fd/{folder}/messages.sock")
    os.close(folder)
    messages.listen(1024)
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    tcp.listen(1024)
    return messages, tcp


class GatewayProcess:
    """See the module's head."""

    def __init__(self, root: Path, base_url: str, **api: Any) -> None:
        self.layout = SpoolLayout(root)
        self.order = an_order(base_url, **api)
        self._sockets = listen_for_gateway(self.layout)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = root / "gateway.log"

    @property
    def socket(self) -> Path:
        """messages.sock."""
        return self.layout.gateway.messages

    @property
    def base_url(self) -> str:
        """Over TCP."""
        return f"http://127.0.0.1:{self._sockets[1].getsockname()[1]}"

    def token(self, ref: str, attempt: int = 1, **changed: Any) -> str:
        """Give an attempt a token; what it presents."""
        return issue_token(self.layout, ref, attempt, **changed)

    def start(self) -> Self:
        """Start it; returns when it serves."""
        reading, writing = os.pipe()
        descriptors = [reading, *(one.fileno() for one in self._sockets)]
        arguments = ["--order-fd", descriptors[0], "--messages-fd", descriptors[1], "--tcp-fd", descriptors[2]]
        command = [sys.executable, "-P", "-m", "haikud.gateway", "--spool", self.layout.root, *arguments]
        self.layout.gateway.address.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stderr=log, pass_fds=descriptors
            )
        os.close(reading)
        os.write(writing, self.order.model_dump_json().encode())
        os.close(writing)
        end = time.monotonic() + 60
        while not self.layout.gateway.address.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "the gateway does not serve"
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """Kill -9; returns when it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def term(self) -> None:
        """Send TERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(seconds)

    def journal(self) -> list[JournalLine]:
        """All lines of the journal."""
        found: list[JournalLine] = []
        for path in sorted(self.layout.gateway.usage.glob("*.jsonl")):
            found += iter_lines(path, JournalLine, strict=True)
        return found

    def charges(self) -> list[Charge]:
        """All that was charged."""
        return list(read_charges(self.layout.gateway))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for one in self._sockets:
            one.close()


def hear_line(peer: socket.socket) -> dict[str, Any]:
    """One line of daemon.sock."""
    data = b""
    while not data.endswith(b"\n"):
        piece = peer.recv(1)
        assert piece, "the gateway has hung up"
        data += piece
    heard: dict[str, Any] = json.loads(data)
    return heard
