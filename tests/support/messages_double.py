"""A small Messages API on loopback for tests: each POST gets the next of a list of answers, over real HTTP and SSE.

    with MessagesDouble([says("Done."), Status(500), calls("bash", command="ls")]) as api:
        ... base_url=api.base_url ...
        assert len(api.journal) == 3

Once the list is used up, every further request is answered with 418, which no client retries.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Block = dict[str, Any]


@dataclass
class Answer:
    """A streamed message, whole or broken after `events` of its events (None: whole)."""

    blocks: list[Block]
    stop_reason: str | None = "end_turn"
    usage: dict[str, Any] = field(default_factory=lambda: {"input_tokens": 1000, "output_tokens": 100})
    broken: str | None = None  # cut, stall, truncate, corrupt or error (an error event)
    events: int = 3
    error: str = "overloaded_error"
    gate: threading.Event | None = None  # waited for after `events` events
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Status:
    """An error status instead of a message."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "made up by the double"
    type: str = "api_error"


@dataclass
class Silence:
    """The request is taken and never answered."""


@dataclass
class Request:
    """One request as it came."""

    headers: dict[str, str]
    body: dict[str, Any]


Step = Answer | Status | Silence


def says(text: str, **fields: Any) -> Answer:
    """An answer of text alone."""
    return Answer([{"type": "text", "text": text}], **fields)


def calls(name: str, tool_use_id: str = "", text: str = "", **tool_input: Any) -> Answer:
    """An answer that uses one tool."""
    use = {"type": "tool_use", "id": tool_use_id or f"toolu_{name}", "name": name, "input": tool_input}
    return Answer([*([{"type": "text", "text": text}] if text else []), use], stop_reason="tool_use")


def events_of(answer: Answer, number: int, model: str) -> list[tuple[str, dict[str, Any]]]:
    """The stream of an answer: message_start, blocks in small pieces, message_delta, message_stop."""
    start: dict[str, Any] = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**answer.usage, "output_tokens": 1},
    }
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": start})]
    for index, block in enumerate(answer.blocks):
        empty, deltas = _pieces(block)
        events.append(("content_block_start", {"index": index, "content_block": empty}))
        events += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(("content_block_stop", {"index": index}))
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    events.append(("message_delta", {"delta": delta, "usage": {"output_tokens": answer.usage["output_tokens"]}}))
    events.append(("message_stop", {}))
    return events


def _pieces(block: Block) -> tuple[Block, list[dict[str, Any]]]:
    if block["type"] == "text":
        halves = _halves(block["text"])
        return {**block, "text": ""}, [{"type": "text_delta", "text": half} for half in halves]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": half} for half in _halves(block["thinking"])]
        signed = [{"type": "signature_delta", "signature": block["signature"]}] if block.get("signature") else []
        return {**block, "thinking": "", "signature": ""}, [*deltas, *signed]
    if block["type"] == "tool_use":
        text = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": half} for half in ["", *_halves(text)]
        ]
    return block, []


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


class MessagesDouble:
    """The server: `base_url`, `journal` (every request, in order). Use it as a context manager."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.journal: list[Request] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                double._handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
                """Say nothing."""

            def do_GET(self) -> None:
                double._tell(self)

        self._server = self._listen(Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def _listen(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def _tell(self, handler: BaseHTTPRequestHandler) -> None:
        _send_status(handler, Status(404), 0)

    @property
    def base_url(self) -> str:
        """What to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._lock:
            self.journal.append(Request({k.lower(): v for k, v in handler.headers.items()}, body))
            number = len(self.journal)
            step = self._steps.pop(0) if self._steps else Status(418, message="the double has no answer left")
        if isinstance(step, Status):
            _send_status(handler, step, number)
        elif isinstance(step, Silence):
            handler.close_connection = True
            self._released.wait()
        else:
            self._stream(handler, step, number, body["model"])

    def _stream(self, handler: BaseHTTPRequestHandler, answer: Answer, number: int, model: str) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("request-id", f"req_{number}")
        handler.send_header("transfer-encoding", "chunked")
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        events = events_of(answer, number, model)
        try:
            for place, (kind, data) in enumerate(events[: answer.events] if answer.broken else events):
                if answer.gate is not None and place == answer.events:
                    answer.gate.wait()
                _send_chunk(handler, f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n")
            if answer.broken == "corrupt":
                _send_chunk(handler, 'event: content_block_delta\ndata: {"type": "content_bl\n\n')
            elif answer.broken == "error":
                error = {"type": "error", "error": {"type": answer.error, "message": "in the middle"}}
                _send_chunk(handler, f"event: error\ndata: {json.dumps(error)}\n\n")
            elif answer.broken == "stall":
                self._released.wait()
            handler.close_connection = answer.broken is not None
            if answer.broken != "cut":  # without the last chunk the body is cut
                handler.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone, as it may
            handler.close_connection = True


def _send_chunk(handler: BaseHTTPRequestHandler, text: str) -> None:
    data = text.encode()
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()


def _send_status(handler: BaseHTTPRequestHandler, step: Status, number: int) -> None:
    error = {"type": "error", "error": {"type": step.type, "message": step.message}, "request_id": f"req_{number}"}
    data = json.dumps(error).encode()
    handler.send_response(step.status)
    for name, value in step.headers.items():
        handler.send_header(name, value)
    handler.send_header("request-id", f"req_{number}")
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
