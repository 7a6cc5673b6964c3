"""The scripted Messages API as an aiohttp application.

POST /v1/messages and POST /v1/messages/count_tokens, with the real API's shapes, checks and error bodies; context
editing (`context_management`) is applied before anything is counted or cached. Every answer carries `request-id` and
`x-haikud-scripted: true`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from haikud.contracts.api_errors import ERROR_TYPES
from haikud.costs.context_editing import Edited, as_seen
from haikud.offline.answer import Answer
from haikud.offline.delivery import Delivery
from haikud.offline.journal import Journal
from haikud.offline.prompt_cache import PromptCache
from haikud.offline.refusals import (
    Refused,
    check_context_editing,
    check_credentials,
    check_request,
    check_window,
)
from haikud.offline.scenario import Fault, Scenario, StatusFault
from haikud.offline.script import Line, find_line
from haikud.offline.tokens import count_tokens

MOST_BODY_BYTES = 32 * 1024 * 1024  # the API's own limit

Answering = Callable[[web.Request, Delivery], Awaitable[web.StreamResponse]]


class MessagesApi:
    """The state behind the routes: the scenario, the cache, the counters of the faults. Lives on one event loop."""

    def __init__(self, scenario: Scenario, journal: Journal) -> None:
        self._scenario = scenario
        self._journal = journal
        self._cache = PromptCache()
        self._struck: Counter[str] = Counter()
        self.injected: deque[Fault] = deque()  # strike the next requests, before the script's own
        self.closing = asyncio.Event()

    def application(self) -> web.Application:
        """The routes. Whatever is not one of them is answered in the API's shape too."""
        app = web.Application(client_max_size=MOST_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer_in_shape)
        return app

    async def _answer_in_shape(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        exchange = self._journal.open(request.method, request.path, headers)
        exchange.request_id = f"req_{uuid.uuid4().hex[:24]}"
        delivery = Delivery(request, exchange, self.closing)
        try:
            check_credentials(headers)
            return await self._route(request)(request, delivery)
        except Refused as refused:
            return delivery.error(refused.status, refused.error_type, refused.message, {})
        except web.HTTPException as error:
            return delivery.error(error.status, ERROR_TYPES.get(error.status, "api_error"), error.reason, {})
        finally:
            self._journal.close(exchange)

    def _route(self, request: web.Request) -> Answering:
        routes: dict[str, Answering] = {
            "/v1/messages": self._messages,
            "/v1/messages/count_tokens": self._count_tokens,
        }
        if request.path not in routes:
            raise Refused(404, "Not found")
        if request.method != "POST":
            raise Refused(405, "Method Not Allowed")
        return routes[request.path]

    async def _count_tokens(self, request: web.Request, delivery: Delivery) -> web.StreamResponse:
        body = check_request(await _read_body(request, delivery), counting=True)
        check_context_editing(body, delivery.exchange.headers)
        answer: dict[str, Any] = {"input_tokens": count_tokens(as_seen(body, count_tokens).body)}
        if "context_management" in body:
            answer["context_management"] = {"original_input_tokens": count_tokens(body)}
        return delivery.good(answer)

    async def _messages(self, request: web.Request, delivery: Delivery) -> web.StreamResponse:
        body = check_request(await _read_body(request, delivery))
        check_context_editing(body, delivery.exchange.headers)
        edited = as_seen(body, count_tokens)
        line = find_line(self._scenario, body)
        delivery.exchange.conversation, delivery.exchange.turn = line.conversation, line.turn
        fault = self._fault_due(line)
        if fault is not None:
            delivery.exchange.fault = fault.kind
            await delivery.silence(fault.delay_seconds)
        if isinstance(fault, StatusFault):
            return delivery.status_fault(fault)
        check_window(edited.body)
        answer = self._answer(line, body, edited)
        if body.get("stream"):
            return await delivery.stream(answer, fault)
        return await delivery.whole(answer, fault)

    def _answer(self, line: Line, body: dict[str, Any], edited: Edited) -> Answer:
        salt = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()
        pieces = line.pieces(salt)  # may refuse, so it comes before the cache takes note of the request
        return Answer(
            message_id=f"msg_{uuid.uuid4().hex[:24]}",
            model=str(body["model"]),
            pieces=pieces,
            stop_reason=line.stop_reason,
            usage=self._cache.use(edited.body),
            applied_edits=edited.applied if "context_management" in body else None,
        ).within(int(body["max_tokens"]))

    def _fault_due(self, line: Line) -> Fault | None:
        if self.injected:
            return self.injected.popleft()
        fault = line.fault
        if fault is None:
            return None
        key = f"{line.conversation}/{line.turn}" + ("" if fault.per == "server" else f"/{line.dialogue}")
        if fault.times is not None and self._struck[key] >= fault.times:
            return None
        self._struck[key] += 1
        return fault


async def _read_body(request: web.Request, delivery: Delivery) -> Any:
    """The request's JSON, kept in the journal."""
    data = await request.read()
    try:
        delivery.exchange.body = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(400, f"The request body is not valid JSON: {error}") from error
    return delivery.exchange.body
