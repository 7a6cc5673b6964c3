"""A session of the built-in agent with an API of our own, so that what is made at first use is made before a fork.

The libraries import a third of themselves with the first client and its first call, and build the validators of their
models when the first answer of a kind arrives: a third of a second and some twenty megabytes, which runners then share.
The session is a whole one: a conversation is begun, a tool used, an answer paid for. Its calls go over a socket of ours
to answers of ours, in one process, on one loop. Nothing of it is kept, and no file is written.

A spare, which waits for its order, holds it once more, when none has come for a while: what an agent's first call
writes to, some 1,600 pages, is then copied for it already.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from haikud.agent.charges import Charges
from haikud.agent.events import EventLog
from haikud.agent.gateway_account import GatewayAccount
from haikud.agent.haiku.client import MessagesClient
from haikud.agent.haiku.conversation import Block
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.order import AgentEnds, HaikuOrder
from haikud.agent.haiku.session import converse, meter_of
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.attempt import Assignment, Orders, ResolvedRole, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptAccount, GatewayPlace
from haikud.contracts.plan import Task, TaskContext
from haikud.contracts.settings import ApiSettings, GitSettings, LimitSettings
from haikud.contracts.usage import UsageTotal
from haikud.spool.agent_log import AgentLog

_NOBODY = "warming"
_NOWHERE = Path(os.devnull)

_SECONDS = 10.0

_CREDENTIALS = struct.Struct("3i")  # unix(7): pid, uid, gid

_SESSIONS = 8
"""A function is adapted when it has been called so often."""


def _turn(*blocks: tuple[Block, Block], stop_reason: str) -> bytes:
    """The stream of one answer: each block as it starts, and what is added to it."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_warming", "type": "message", "role": "assistant", "model": _NOBODY, "content": []}
    events: list[Block] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    ]
    for index, (start, delta) in enumerate(blocks):
        events += [
            {"type": "content_block_start", "index": index, "content_block": start},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ended = {"stop_reason": stop_reason, "stop_sequence": None}
    events += [{"type": "message_delta", "delta": ended, "usage": {"output_tokens": 2}}, {"type": "message_stop"}]
    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: none\r\n"
    return f"{head}content-length: {len(lines)}\r\n\r\n{lines}".encode()


_THOUGHT = (
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "signature_delta", "signature": "warm"},
)
_TEXT = ({"type": "text", "text": ""}, {"type": "text_delta", "text": "warm"})
_REPORT = (
    {"type": "tool_use", "id": "toolu_warming", "name": "report_progress", "input": {}},
    {"type": "input_json_delta", "partial_json": '{"percent": 50, "message": "warm"}'},
)
_ANSWERS = (_turn(_THOUGHT, _TEXT, _REPORT, stop_reason="tool_use"), _turn(_TEXT, stop_reason="end_turn"))

_ENTRY: dict[str, Any] = {"at": "2026-01-01T00:00:00Z", "model": _NOBODY, "cost_usd": 0.0, "request_id": "none"}


@cache
def warm_up() -> bool:
    """Hold one session, the first time; whether it came to its end. Leaves no thread, loop or descriptor behind.

    Best effort: what a machine that refuses it leaves undone is done with the first call.
    """
    with suppress(OSError), _order() as (order, account), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the kernel picks a name that no file has
        account.socket.text = "\0" + listener.getsockname()[1:].decode()

        def connect(api: ApiSettings, key: str, place: str | None) -> MessagesClient:
            return _Answered(listener, api, key, place)

        try:
            converse(order, meter_of(order), _Unwritten(_NOWHERE.with_name(_NOBODY), 1), connect)
        except AgentEnds as end:
            return end.kind == "done"
    return False


def practise() -> None:
    """For a process that forks: until the interpreter has adapted its code, or each child would write to that."""
    for _ in range(_SESSIONS):
        warm_up.__wrapped__()
    warm_up()


def practise_once_more() -> bool:
    """For a process that was forked and has time; whether it came to its end."""
    return warm_up.__wrapped__()


@contextmanager
def _order() -> Iterator[tuple[HaikuOrder, GatewayAccount]]:
    """An order whose log and events go nowhere."""
    write = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        log, events = AgentLog(write, 1), EventLog(_NOWHERE)
        account = _Told(_NOWHERE.parent, _NOWHERE.name, _NOBODY, Charges(log, events))
        spec = Spec(
            ref=_NOBODY,
            plan_id=_NOBODY,
            task_id=_NOBODY,
            attempt=1,
            agent_id=f"{_NOBODY}-1",
            ordered_at=utc_now(),
            task=Task(id=_NOBODY, ref=_NOBODY, title="Warm up"),
            role=ResolvedRole(name=_NOBODY, prompt="Warm up.", tools=["bash", "edit"], model=_NOBODY),
            workspace=None,
            limits=LimitSettings.model_validate({}),
            api=ApiSettings.model_validate({"tries": 1, "retry_waits": []}),
            git=GitSettings.model_validate({}),
            budget_usd=1.0,
            spent=UsageTotal(),
            gateway=GatewayPlace(socket=_NOWHERE.name, base_url="http://127.0.0.1:1"),
        )
        order = HaikuOrder(
            spec=spec,
            assignment=Assignment(task_id=_NOBODY, title="Warm up", context=TaskContext()),
            worktree=_NOWHERE.parent,
            transcript=_NOWHERE,
            log=log,
            events=events,
            api_key=_NOBODY,
            environment={},
            dependencies_file=None,
            read_orders=lambda: Orders.model_validate({}),
            stop=threading.Event(),
            account=account,
        )
        yield order, account
    finally:
        os.close(write)


class _Unwritten(Transcript):
    """A conversation that nobody will take up."""

    def _write(self, *lines: bytes) -> None:
        pass


class _Told(GatewayAccount):
    """An account of which the gateway says the same each time, without being asked."""

    def _ask(self, seconds: float) -> AttemptAccount:  # noqa: ARG002 - nobody is waited for
        entries = [_ENTRY] * (self._charged + 1)
        told = {"count": len(entries), "entries": entries[-1:], "in_flight": 0, "left_usd": 1.0}
        return AttemptAccount.model_validate_json(json.dumps(told))


class _Answered(MessagesClient):
    """A client whose own loop answers it."""

    def __init__(self, listener: socket.socket, api: ApiSettings, key: str, place: str | None) -> None:
        super().__init__(api, key, place)
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._answering: asyncio.Task[object] | None = None

    async def stream(self, request: dict[str, Any], incoming: Incoming) -> None:
        """The call itself, answered."""
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._answer, sock=self._listener)
        async with asyncio.timeout(_SECONDS):
            await super().stream(request, incoming)

    async def close(self) -> None:
        """Let go of the connection's other end too."""
        await super().close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._answering is not None:
            await asyncio.wait({self._answering}, timeout=_SECONDS)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_ours(writer):
            writer.close()
            return
        self._answering = asyncio.current_task()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for answer in _ANSWERS:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether it is this process that has connected: any other may, to a name that no file has."""
    told = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(told)[0] == os.getpid())
