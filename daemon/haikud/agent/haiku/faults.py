"""What can go wrong with a call of the Messages API, sorted into three kinds.

    network    connection errors, broken or stalled streams, 408, 409, 5xx, and errors inside a stream: tried again
    quota      429, 529 and 402: the account's or the API's limits, waited out or handed back
    permanent  every other refusal: the next try would be refused too

Refusals of haikud's own gateway (`x-haikud-refusal`) are sorted by what they say; a budget's and a token's are the
caller's to obey.

The SDK raises its own errors for a status, and raw `httpx2` errors, JSON errors or nothing at all for a stream that
breaks (measured); all of them are in CALL_FAULTS. No message here holds a secret.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

import anthropic
import httpx2

from haikud.agent.haiku.incoming import BrokenStream
from haikud.contracts.gateway import Purse, Refusal

CALL_FAULTS = (
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx2.StreamError,
    httpx2.InvalidURL,
    BrokenStream,
    ValueError,  # a corrupt chunk: JSONDecodeError, UnicodeDecodeError
    OSError,
)
"""Everything that a call may raise without there being a bug of ours."""

_STREAM_ERRORS = {
    "rate_limit_error": 429,
    "billing_error": 402,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "overloaded_error": 529,
    "timeout_error": 504,
    "conflict_error": 409,
}
"""An error event inside a stream bears a type where its status (200) says nothing."""

_QUOTA = frozenset({402, 429, 529})
_AGAIN = frozenset({408, 409})

_CURES = {
    400: "Read the API's message: this request will never be accepted as it is.",
    401: "Check the API key (ANTHROPIC_API_KEY of the daemon): the API does not accept it.",
    403: "Check what the API key may use: it is not allowed to make this call.",
    404: "Check the model's name in the role or the settings, and api.base_url.",
    413: (
        "The conversation is too long for one request: split the task into smaller ones, or let old tool results be"
        " cleared earlier (context.compact_at_tokens)."
    ),
}
_ANY_CURE = "Read the API's message, then correct the settings or the task."
_UNREACHABLE_CURE = "Check the network, the proxy settings and api.base_url, then retry the task."
_GATEWAY_CURE = "Look whether the daemon runs, which starts its gateway (haikud status), then retry the task."

_REFUSED = {
    Refusal.TOKEN: ("TOKEN_REFUSED", "Retry the task: its next attempt gets a token of its own."),
    Refusal.MODEL: ("MODEL_NOT_ALLOWED", "Correct the model's name in the role, the task or the settings (models)."),
    Refusal.PRICE: (
        "UNKNOWN_MODEL_PRICE",
        "Give its price in the settings (prices), or correct its name in the role or the settings (models).",
    ),
    Refusal.FEATURE: ("FEATURE_REFUSED", "Leave out what cannot be bounded by a budget."),
    Refusal.REQUEST: ("REQUEST_REFUSED", "Read the message: this request will never be accepted as it is."),
    Refusal.BUDGET: ("BUDGET_EXCEEDED", "Raise the budget, or split the task."),
}
"""The gateway's refusals that no further try would change: code and cure."""


class FaultKind(StrEnum):
    """How a fault is met."""

    NETWORK = "network"
    QUOTA = "quota"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class Fault:
    """One failed call."""

    kind: FaultKind
    code: str  # API_UNREACHABLE, API_STREAM_BROKEN, API_500, ...
    message: str
    status: int | None = None  # of the answer, or what an error inside a stream amounts to
    request_id: str | None = None
    retry_after: float | None = None  # seconds
    cure: str = ""
    is_overlong: bool = False  # the request does not fit the model's context
    refusal: Refusal | None = None  # where haikud's gateway did not make the call
    purse: Purse | None = None  # with the refusal `budget`


def classify(error: BaseException, base_url: str, *, through_gateway: bool = False) -> Fault:
    """The fault behind one of CALL_FAULTS; `base_url` is the API's, and not the gateway's."""
    if isinstance(error, anthropic.APIStatusError):
        refusal = error.response.headers.get("x-haikud-refusal")
        if through_gateway and refusal in set(Refusal):
            return _refused(error, Refusal(refusal))
        return _status_fault(error)
    cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
    if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError):
        words = f"the request to {base_url} cannot be sent: {_words(cause)}"
        return Fault(FaultKind.PERMANENT, "API_NOT_CALLABLE", words, cure=_UNREACHABLE_CURE)
    if isinstance(error, anthropic.APIConnectionError):
        silent = isinstance(cause, httpx2.ReadTimeout)
        if through_gateway:
            why = "does not answer" if silent else f"cannot be reached: {_words(cause or error)}"
            return Fault(FaultKind.NETWORK, "GATEWAY_UNREACHABLE", f"haikud's gateway {why}", cure=_GATEWAY_CURE)
        why = "did not answer within api.stall_seconds" if silent else f"cannot be reached: {_words(cause or error)}"
        words = f"the API at {base_url} {why}"
        return Fault(FaultKind.NETWORK, "API_UNREACHABLE", words, cure=_UNREACHABLE_CURE)
    return Fault(FaultKind.NETWORK, "API_STREAM_BROKEN", _stream_words(error), cure=_UNREACHABLE_CURE)


def retry_after_of(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after`, which holds seconds or an HTTP date; None where neither helps."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        moment = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def _refused(error: anthropic.APIStatusError, refusal: Refusal) -> Fault:
    said = (error.api_message or error.message).rstrip(".")
    retry_after = retry_after_of(error.response.headers)
    if refusal is Refusal.LIMIT:
        kind, code, cure = FaultKind.QUOTA, f"API_{error.status_code}", _UNREACHABLE_CURE
    elif refusal is Refusal.UNREACHABLE and retry_after is not None:
        # An outage: the gateway has waited for the API, and goes on looking for it. No attempt is to blame.
        kind, code, cure = FaultKind.QUOTA, "API_UNREACHABLE", _UNREACHABLE_CURE
    elif refusal in {Refusal.UNREACHABLE, Refusal.STALLED}:
        kind, code, cure = FaultKind.NETWORK, "API_UNREACHABLE", _UNREACHABLE_CURE
    else:
        kind, (code, cure) = FaultKind.PERMANENT, _REFUSED[refusal]
    purse = error.response.headers.get("x-haikud-budget")
    return Fault(
        kind,
        code,
        said,
        status=error.status_code,
        request_id=error.request_id,
        retry_after=retry_after,
        cure=cure,
        refusal=refusal,
        purse=Purse(purse) if purse in set(Purse) else None,
    )


def _status_fault(error: anthropic.APIStatusError) -> Fault:
    in_stream = error.status_code < 400
    status = _STREAM_ERRORS.get(error.type or "", 500) if in_stream else error.status_code
    name = f" {error.type}" if error.type else ""
    said = error.api_message or error.message
    request = f" (request {error.request_id})" if error.request_id else ""
    place = " inside the stream" if in_stream else ""
    message = f"the API answered {status}{name}{place}: {said}{request}"
    # An overload in the middle of a stream is gone as often as not: tried again before it counts as a limit.
    if status in _QUOTA and not (in_stream and status == 529):
        kind = FaultKind.QUOTA
    elif status in _AGAIN or status >= 500:
        kind = FaultKind.NETWORK
    else:
        kind = FaultKind.PERMANENT
    is_overlong = status == 400 and "prompt is too long" in said
    return Fault(
        kind,
        "CONTEXT_FULL" if is_overlong else f"API_{status}",
        message,
        status=status,
        request_id=error.request_id,
        retry_after=retry_after_of(error.response.headers),
        cure=_CURES.get(413 if is_overlong else status, _ANY_CURE)
        if kind is FaultKind.PERMANENT
        else _UNREACHABLE_CURE,
        is_overlong=is_overlong,
    )


def _stream_words(error: BaseException) -> str:
    if isinstance(error, BrokenStream):
        return str(error)
    if isinstance(error, httpx2.ReadTimeout):
        return "the stream stalled: nothing came for longer than api.stall_seconds"
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
        return f"the stream broke: {_words(error)}"
    return f"the stream is corrupt: {_words(error)}"


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
