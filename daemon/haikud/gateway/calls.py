"""One call of the model, from its body to its end: checked, paid for, sent when it is its turn, passed on.

Promises: what is under way is known by attempt, from the moment its token was accepted, so that all of it can be ended.
However a call ends (refused, whole, cut by the API, by its client, by `end`), its end is in the books when its task is
over. Fails with Refused, and with OSError where the journal cannot be written: that call was not made.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from haikud.contracts.gateway import AttemptToken, Refusal
from haikud.contracts.settings import ApiSettings
from haikud.costs.prices import PriceList
from haikud.gateway.bill import Bill
from haikud.gateway.books import Books
from haikud.gateway.budget import Budgets, Grant
from haikud.gateway.gate import Gate
from haikud.gateway.limits import unreachable_words
from haikud.gateway.refusals import Refused
from haikud.gateway.relay import read_at_most, relay
from haikud.gateway.requests import MOST_BODY_BYTES, Asked, check_call, check_model, parse, write
from haikud.gateway.tokens import Name
from haikud.gateway.upstream import Upstream, passed_back
from haikud.gateway.waiting import Held, PassOn, SendAgain, Turn

BODY_SECONDS = 60.0
_MOST_ERROR_BYTES = 1024 * 1024
_STALE_SECONDS = 1.0
"""A kept connection that the API has closed meanwhile says so at once: then the request is sent again."""


class Answered(Exception):  # noqa: N818 - an answer of the API, to be passed on
    """The API refused the call."""

    def __init__(self, response: web.Response, retry_after: float | None, status: int, message: str) -> None:
        super().__init__(message)
        self.response = response
        self.retry_after = retry_after
        self.status = status
        self.message = message


@dataclass(eq=False)
class UnderWay:
    """A request whose token was accepted."""

    name: Name
    task: asyncio.Task[object]
    sent: bool = False


class Calls:
    """All calls."""

    def __init__(
        self,
        books: Books,
        prices: PriceList,
        gate: Gate,
        upstream: Upstream,
        api: ApiSettings,
        on_end: Callable[[], None],
    ) -> None:
        self._books = books
        self._prices = prices
        self._gate = gate
        self._upstream = upstream
        self._api = api
        self._on_end = on_end
        self._budgets = Budgets(books, prices)
        self._under_way: set[UnderWay] = set()

    @contextmanager
    def under_way(self, token: AttemptToken) -> Iterator[UnderWay]:
        """Know the current task as one that serves an attempt."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler is run by a task
        one = UnderWay((token.ref, token.attempt), task)
        self._under_way.add(one)
        try:
            yield one
        finally:
            self._under_way.discard(one)

    async def end(self, name: Name | None = None, *, unsent_only: bool = False) -> None:
        """End what is under way, of one attempt or of all, as if its clients had gone; return when it has ended."""
        tasks = {
            one.task for one in self._under_way if (name is None or one.name == name) and not (unsent_only and one.sent)
        }
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def wait_for_end(self) -> None:
        """Return when nothing is under way."""
        while tasks := {one.task for one in self._under_way}:
            await asyncio.wait(tasks)

    async def count(self, request: web.Request, token: AttemptToken) -> web.StreamResponse:
        """POST /v1/messages/count_tokens: free, but not for other models."""
        body = parse(await _read_body(request))
        model = check_model(body, token)
        data = write(body)
        try:
            async with self._gate.turn(_line_of(token), 0, model):
                return await self._pass_count(request, data)
        except Held as held:
            raise _refused_by_limit(held) from held

    async def _pass_count(self, request: web.Request, data: bytes) -> web.StreamResponse:
        try:
            answer = await self._upstream.post(request.path, request.rel_url.raw_query_string, request.headers, data)
            async with answer:
                body = await read_at_most(answer, _MOST_ERROR_BYTES)
        except TimeoutError as error:
            raise Refused(504, "the API is silent", Refusal.STALLED) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(502, "the API cannot be reached", Refusal.UNREACHABLE) from error
        return web.Response(status=answer.status, body=body, headers=passed_back(answer.headers))

    async def make(self, request: web.Request, token: AttemptToken, one: UnderWay) -> web.StreamResponse:
        """POST /v1/messages."""
        grant, asked = await self._grant(request, token)
        bill = Bill(self._books, self._prices, grant, self._on_end)
        try:
            async with self._gate.turn(_line_of(token), grant.tokens, asked.model) as turn:
                one.sent = True
                answer = await self._send(request, asked, turn, bill)
                del asked  # its body: the answer may take minutes
                bill.request_id = answer.headers.get("request-id")
                try:
                    return await relay(request, answer, bill, _marks(grant, turn), patience=self._api.stall_seconds)
                finally:
                    answer.close()  # kept where it was read to its end; else the API need not go on
        except Held as held:
            raise _refused_by_limit(held) from held
        finally:
            bill.settle()

    async def _grant(self, request: web.Request, token: AttemptToken) -> tuple[Grant, Asked]:
        asked = check_call(parse(await _read_body(request)), token)
        return await self._budgets.grant(
            token, asked, lambda: self._upstream.count(asked, request.rel_url.raw_query_string, request.headers)
        )

    async def _send(self, request: web.Request, asked: Asked, turn: Turn, bill: Bill) -> aiohttp.ClientResponse:
        """Send it, as often as the gate says; the answer that is to be passed on. Refused, Answered."""
        is_second = False
        while True:
            began = time.monotonic()
            try:
                answer = await self._post(request, asked, bill)
                if 200 <= answer.status < 300:
                    self._gate.heard(answer.status, answer.headers, None, turn)
                    return answer
                verdict, refused = await self._hear_refusal(answer, turn)
                bill.reached_api_at = None
                if isinstance(verdict, PassOn):
                    raise refused
            except aiohttp.ServerDisconnectedError as error:
                if time.monotonic() - began < _STALE_SECONDS and not is_second:
                    is_second = True
                    continue
                verdict = self._unreachable(error, turn)
            except TimeoutError as error:
                if not isinstance(error, aiohttp.ConnectionTimeoutError):
                    text = f"the API has said nothing for {self._api.stall_seconds:g} seconds"
                    raise Refused(504, text, Refusal.STALLED) from error
                verdict = self._unreachable(error, turn)
            except (aiohttp.ClientError, OSError) as error:
                verdict = self._unreachable(error, turn)
            if isinstance(verdict, SendAgain):
                await turn.again()

    async def _post(self, request: web.Request, asked: Asked, bill: Bill) -> aiohttp.ClientResponse:
        before = bill.reached_api_at
        bill.reached_api_at = before if before is not None else time.monotonic()
        try:
            return await self._upstream.post(
                request.path, request.rel_url.raw_query_string, request.headers, asked.data, streamed=asked.stream
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            bill.reached_api_at = before
            raise

    def _unreachable(self, error: Exception, turn: Turn) -> SendAgain:
        verdict = self._gate.unreachable(error, turn)
        if isinstance(verdict, SendAgain):
            return verdict
        text = unreachable_words(error)
        raise Refused(502, text, Refusal.UNREACHABLE, retry_after=verdict.retry_after_seconds) from error

    async def _hear_refusal(self, answer: aiohttp.ClientResponse, turn: Turn) -> tuple[PassOn | SendAgain, Answered]:
        async with answer:
            body = await read_at_most(answer, _MOST_ERROR_BYTES)
        error_type, message = _error_in(body)
        verdict = self._gate.heard(answer.status, answer.headers, error_type, turn, message=message)
        after = verdict.retry_after_seconds if isinstance(verdict, PassOn) else None
        headers = passed_back(answer.headers)
        if after is not None:
            headers["x-haikud-refusal"] = Refusal.LIMIT.value
            headers.setdefault("retry-after", str(max(1, round(after))))
        response = web.Response(status=answer.status, body=body, headers=headers)
        return verdict, Answered(response, after, answer.status, message)


async def _read_body(request: web.Request) -> bytes:
    """The whole body. `request.read` would keep it as long as the request lives."""
    pieces, received, size = [], 0, request.content_length or 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while size <= MOST_BODY_BYTES and (piece := await request.content.readany()):
                pieces.append(piece)
                received += len(piece)
                size = max(size, received)
    except TimeoutError as error:
        raise Refused(408, "the request body did not come", Refusal.REQUEST) from error
    except web.RequestPayloadError as error:
        raise Refused(400, "the request body is broken", Refusal.REQUEST) from error
    if size > MOST_BODY_BYTES:
        raise _too_large()
    return b"".join(pieces)


def _too_large() -> Refused:
    return Refused(413, f"the request body has more than {MOST_BODY_BYTES} bytes", Refusal.REQUEST)


def _line_of(token: AttemptToken) -> str:
    return f"{token.ref}.{token.attempt}"


def _marks(grant: Grant, turn: Turn) -> dict[str, str]:
    marks = {}
    if grant.is_clamped:
        marks["x-haikud-max-tokens"] = str(grant.max_tokens)
    waited = grant.waited_seconds + turn.waited_seconds
    if waited >= 0.1:
        marks["x-haikud-waited"] = f"{waited:.1f}"
    return marks


def _refused_by_limit(held: Held) -> Refused:
    if held.kind == "unreachable":
        return Refused(502, held.reason, Refusal.UNREACHABLE, retry_after=held.retry_after_seconds)
    status = 529 if held.kind in {"overloaded", "busy"} else 429
    return Refused(status, held.reason, Refusal.LIMIT, retry_after=held.retry_after_seconds)


def _error_in(body: bytes) -> tuple[str | None, str]:
    try:
        error = json.loads(body)["error"]
        return str(error["type"]), str(error.get("message", ""))[:500]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, ""
