"""What the gateway answers itself: errors in the API's shape, which say in headers who refused and why."""

from __future__ import annotations

import json
import math

from aiohttp import web

from haikud.contracts.api_errors import ERROR_TYPES
from haikud.contracts.base import utc_now
from haikud.contracts.gateway import Purse, Refusal, RefusedCall


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """A call that is not made. `refusal` is None for what has nothing to do with calls, such as a wrong path."""

    def __init__(
        self,
        status: int,
        message: str,
        refusal: Refusal | None = None,
        *,
        purse: Purse | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.refusal = refusal
        self.purse = purse
        self.retry_after = retry_after

    @property
    def ends_connection(self) -> bool:
        """Whether nothing else that comes over the same connection is answered."""
        return self.refusal is Refusal.TOKEN

    def record(self) -> RefusedCall | None:
        """For the attempt's account; None where it is not for that: only budgets, limits and outages are."""
        is_outage = self.refusal is Refusal.UNREACHABLE and self.retry_after is not None
        if self.refusal not in {Refusal.BUDGET, Refusal.LIMIT} and not is_outage:
            return None
        assert self.refusal is not None  # noqa: S101 - see above
        return RefusedCall(
            at=utc_now(),
            refusal=self.refusal,
            message=self.message,
            purse=self.purse,
            retry_after_seconds=self.retry_after,
        )

    def response(self) -> web.Response:
        """The answer."""
        headers = {}
        if self.refusal is not None:
            headers["x-haikud-refusal"] = self.refusal.value
        if self.purse is not None:
            headers["x-haikud-budget"] = self.purse.value
        if self.refusal is Refusal.BUDGET:
            headers["x-should-retry"] = "false"
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return error_response(self.status, self.message, headers)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error in the API's shape."""
    body = {"type": "error", "error": {"type": ERROR_TYPES.get(status, "api_error"), "message": message}}
    return web.Response(status=status, body=json.dumps(body).encode(), headers=headers, content_type="application/json")
