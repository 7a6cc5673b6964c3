"""The gateway's routes: the Messages API for attempts, and their accounts.

Every answer that is the gateway's own has the API's shape. A connection on which a refused token came gets nothing
else. What breaks in here is answered with 500 and logged by its kind and place; never with what a request holds.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from aiohttp import web

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptToken, Refusal, RefusedCall
from haikud.gateway.accounts import Accounts
from haikud.gateway.calls import Answered, Calls, UnderWay
from haikud.gateway.log import log
from haikud.gateway.refusals import Refused, error_response
from haikud.gateway.requests import MOST_BODY_BYTES
from haikud.gateway.tokens import Tokens

_JOURNAL_RETRY_SECONDS = 30.0

Handler = Callable[[web.Request, AttemptToken, UnderWay], Awaitable[web.StreamResponse]]


class Application:
    """See the module's head."""

    def __init__(self, tokens: Tokens, calls: Calls, accounts: Accounts) -> None:
        self._tokens = tokens
        self._calls = calls
        self._accounts = accounts
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/messages"): self._make_call,
            ("POST", "/v1/messages/count_tokens"): self._count,
            ("GET", "/haikud/account"): self._tell_account,
        }

    def application(self) -> web.Application:
        """For aiohttp."""
        app = web.Application(client_max_size=MOST_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer_call(request)
        except Refused as refused:
            response = refused.response()
            if refused.ends_connection:
                response.force_close()
            return response
        except ConnectionError:  # the client has gone
            raise
        except OSError as error:
            log(f"a call was refused, for the machine refuses what it needs: {error}")
            text = "haikud's gateway cannot write its journal; `haikud doctor` says why"
            return Refused(529, text, Refusal.LIMIT, retry_after=_JOURNAL_RETRY_SECONDS).response()
        except Exception as error:  # noqa: BLE001 - one call's fault must not be another's
            place = traceback.extract_tb(error.__traceback__)[-1]
            log(f"a call broke: {type(error).__name__} at {place.name}:{place.lineno}")
            return error_response(500, "haikud's gateway broke on this call; its log says where")

    async def _answer_call(self, request: web.Request) -> web.StreamResponse:
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            known = any(path == request.path for _, path in self._routes)
            raise Refused(405, "Method Not Allowed") if known else Refused(404, "Not found")
        token = self._tokens.check(request.headers)
        with self._calls.under_way(token) as one:
            try:
                return await handler(request, token, one)
            except Refused as refused:
                record = refused.record()
                if record is not None:
                    self._accounts.note_refusal(token, record)
                raise
            except Answered as answered:
                if answered.retry_after is not None:
                    self._accounts.note_refusal(token, _record(answered))
                return answered.response

    async def _make_call(self, request: web.Request, token: AttemptToken, one: UnderWay) -> web.StreamResponse:
        return await self._calls.make(request, token, one)

    async def _count(self, request: web.Request, token: AttemptToken, _one: UnderWay) -> web.StreamResponse:
        return await self._calls.count(request, token)

    async def _tell_account(self, request: web.Request, token: AttemptToken, _one: UnderWay) -> web.StreamResponse:
        text = request.query.get("after", "0")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise Refused(400, "after: must be how many entries are known already", Refusal.REQUEST)
        account = self._accounts.of(token, int(text))
        return web.Response(body=account.model_dump_json().encode(), content_type="application/json")


def _record(answered: Answered) -> RefusedCall:
    return RefusedCall(
        at=utc_now(),
        refusal=Refusal.LIMIT,
        message=answered.message or f"the API answered {answered.status}",
        retry_after_seconds=answered.retry_after,
    )
