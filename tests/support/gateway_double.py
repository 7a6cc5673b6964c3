"""A gateway for tests of the runner's side: scripted answers on a unix socket, and an account that a test can bend.

    with GatewayDouble(spool, [says("Done."), refuses("budget", 402)]) as gateway:
        ... Spec.gateway = gateway.place, the key is TOKEN ...

It charges a stream when it begins, as the real one has charged it when it ends. What the real one does is shown in
tests/gateway and tests/acceptance.
"""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.messages_double import Answer, MessagesDouble, Status, Step

from haikud.agent.gateway_account import SocketPath
from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptAccount, GatewayPlace, Purse, Refusal, RefusedCall
from haikud.contracts.usage import UsageEntry, UsageTotal

TOKEN = "haikud.t.1." + "a1" * 32
SOCKET = "gateway/messages.sock"


def refuses(refusal: str, status: int, message: str = "said by the gateway.", **headers: str) -> Status:
    """A refusal of the gateway's own; `headers` with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Status(status, {"x-haikud-refusal": refusal, **named}, message)


def an_entry(**fields: Any) -> UsageEntry:
    """What one call cost."""
    some: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 100, "cost_usd": 0.01, "sonnet_cost_usd": 0.1}
    return UsageEntry(**{"at": utc_now(), "model": "claude-haiku-5-5", **some, **fields})


class _UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "gateway", 0


class GatewayDouble(MessagesDouble):
    """See the module's head. `entries` is the account; `asked` counts how often it was asked for."""

    def __init__(self, spool: Path, steps: Sequence[Step] = ()) -> None:
        (spool / SOCKET).parent.mkdir(parents=True, exist_ok=True)
        self._path = SocketPath(spool, SOCKET)
        self.place = GatewayPlace(base_url="http://127.0.0.1:9")
        self.entries: list[UsageEntry] = []
        self.refused: RefusedCall | None = None
        self.left_usd = 0.25
        self.lost: UsageEntry | None = None  # what a broken stream is charged with, in place of what was seen of it
        self.in_flight = 0
        self.away = 0  # so many questions for the account are not answered
        self.closed = False  # the token is refused
        self.asked: list[int] = []
        super().__init__(steps)

    def refuse(self, refusal: Refusal, *, seconds_ago: float = 0.0, **fields: Any) -> None:
        """A call of the attempt was refused."""
        at = utc_now() - timedelta(seconds=seconds_ago)
        self.refused = RefusedCall(at=at, refusal=refusal, message="said by the gateway.", **fields)

    def refuse_for_budget(self, purse: Purse, **fields: Any) -> None:
        """Likewise, for a budget."""
        self.refuse(Refusal.BUDGET, purse=purse, **fields)

    def _listen(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        class Handler(handler):  # type: ignore[misc, valid-type]
            def address_string(self) -> str:
                return "unix"

        return _UnixServer(self._path.text, Handler)  # type: ignore[arg-type]

    def _stream(self, handler: BaseHTTPRequestHandler, answer: Answer, number: int, model: str) -> None:
        broken = answer.broken is not None
        counted = {name: answer.usage[name] for name in ("input_tokens", "output_tokens")}
        entry = an_entry(model=model, request_id=f"req_{number}", estimated=broken, **counted)
        self.entries.append(self.lost if self.lost is not None and broken else entry)
        super()._stream(handler, answer, number, model)

    def _tell(self, handler: BaseHTTPRequestHandler) -> None:
        after = int(parse_qs(urlsplit(handler.path).query)["after"][0])
        self.asked.append(after)
        if self.away:
            self.away -= 1
            handler.close_connection = True
            return
        status = 200 if handler.headers["x-api-key"] == TOKEN and not self.closed else 401
        data = self._account(after).model_dump_json().encode() if status == 200 else b"{}"
        handler.send_response(status)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _account(self, after: int) -> AttemptAccount:
        total = UsageTotal()
        for entry in self.entries:
            total = total.plus_entry(entry)
        return AttemptAccount(
            count=len(self.entries),
            entries=self.entries[after:],
            total=total,
            in_flight=self.in_flight,
            left_usd=self.left_usd,
            refused=self.refused,
        )
