"""What daemon, gateway, runners and agents say to each other about model calls.

    gateway/tokens/REF.N.json   AttemptToken: the engine writes it before the attempt starts and removes it at its end;
                                a token without its file is worth nothing
    gateway/messages.sock       HTTP for runners: the Messages API, and GET /haikud/account (AttemptAccount)
    127.0.0.1:PORT              the same for agents that need TCP
    gateway/daemon.sock         one JSON object a line (LinkMessage), for the process that holds the daemon's lock only

The daemon starts it as `python -P -m haikud.gateway --spool ROOT --order-fd N --messages-fd N --tcp-fd N`: a pipe with
the GatewayOrder's JSON, and the two listening sockets. A gateway that another is still in the way of (gateway.lock)
waits for it. TERM ends it when its calls under way have, at most a minute later. On daemon.sock the daemon speaks first
(HELLO); with the answer go the listening sockets, messages.sock's before TCP's.

A token is `haikud.REF.N.SECRET`, SECRET 64 hexadecimal digits; its file holds the SHA-256 of the whole token. Whoever
presents it does so as a key of the Messages API: `x-api-key` or `Authorization: Bearer`.

The gateway's own refusals have the API's shape, and say more in headers: `x-haikud-refusal` (a Refusal),
`x-haikud-budget` (a Purse, with `budget`), `x-should-retry`, `retry-after`. Answers that it passes on bear
`x-haikud-max-tokens` where it clamped `max_tokens`, and `x-haikud-waited` (seconds) where the account's limits or
other calls held the call back.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp
from haikud.contracts.ids import Id, Ref
from haikud.contracts.settings import ApiSettings, ModelPrice
from haikud.contracts.usage import UsageEntry, UsageTotal

TOKEN_PREFIX = "haikud."  # noqa: S105 - the beginning of every token, not one of them


class Purse(StrEnum):
    """Whose budget a limit is."""

    TASK = "task"
    PLAN = "plan"
    DAY = "day"


PauseKind = Literal["rate_limit", "overloaded", "billing", "unreachable"]
"""Why nothing new is sent to the API for a while."""


class Refusal(StrEnum):
    """Why the gateway does not make a call: `x-haikud-refusal`."""

    TOKEN = "token"  # noqa: S105 - 401: unknown, or of an attempt that has ended
    MODEL = "model"  # 403: not one of the attempt's models
    PRICE = "price"  # 400: no price is known for the model
    FEATURE = "feature"  # 400: something whose cost cannot be bounded: server tools, fast mode, ...
    REQUEST = "request"  # 400, 413: no request of the Messages API
    BUDGET = "budget"  # 402: its worst case would cross a budget
    LIMIT = "limit"  # 429 or 529: the account's limits last longer than a call may be held; retry-after says how long
    UNREACHABLE = "unreachable"  # 502: the API cannot be reached (an outage: with retry-after), or its answer was cut
    STALLED = "stalled"  # 504: the API was silent for longer than api.stall_seconds


class AttemptToken(Model):
    """What an attempt's token is good for."""

    format: Literal[1] = 1
    digest: str  # SHA-256 of the token, hexadecimal
    ref: Ref
    plan: Id
    task: Id
    attempt: int = Field(ge=1)
    role: str
    issued_at: Timestamp
    plan_since: Timestamp  # when the plan was admitted: no call of it is older
    models: list[str] = Field(default_factory=list)  # model ids; empty: any that has a price
    task_usd: float  # limits in US dollars
    plan_usd: float
    day_usd: float
    task_spent_usd: float = 0.0  # as the engine knows it; the journal's sum holds where that is higher
    plan_spent_usd: float = 0.0


class RefusedCall(Model):
    """A call of an attempt that the gateway did not make."""

    at: Timestamp
    refusal: Refusal
    message: str
    purse: Purse | None = None  # with `budget`
    retry_after_seconds: float | None = None  # with `limit`, and an outage's `unreachable`


class AttemptAccount(Model):
    """`GET /haikud/account?after=K`, with the attempt's token: its calls so far that have ended."""

    count: int  # calls that have ended and cost something
    entries: list[UsageEntry] = Field(default_factory=list)  # those after the first K, in the order of their ends
    total: UsageTotal = Field(default_factory=UsageTotal)  # of all of them
    by_model: dict[str, UsageTotal] = Field(default_factory=dict)
    estimated_usd: float = 0.0  # of `total.cost_usd`: calls that were cut or lost
    in_flight: int = 0
    left_usd: float = 0.0  # in the tightest purse, reservations counted as spent
    refused: RefusedCall | None = None  # the last one that was refused for a budget, a limit or an outage


class Pause(Model):
    """Nothing new is sent to the API for a while."""

    until: Timestamp  # with `unreachable`: when it is looked for next
    reason: str  # without its end
    kind: PauseKind


class GatewayOrder(Model):
    """What a gateway is started with, over a pipe. Never on disk, never in a log."""

    version: str
    credential: str = Field(repr=False)
    base_url: str  # of the API
    api: ApiSettings
    prices: dict[str, ModelPrice] = Field(default_factory=dict)  # Settings.prices_by_id
    sonnet_model: str

    @property
    def digest(self) -> str:
        """What tells this order from any other: SHA-256, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class LinkKind(StrEnum):
    """What a line on gateway/daemon.sock is."""

    HELLO = "hello"  # daemon: who are you; gateway: this, and the listening sockets go with it (SCM_RIGHTS)
    CLOSE = "close"  # daemon: this attempt is over: end its calls, and say what it used
    CLOSED = "closed"  # gateway: that
    NEWS = "news"  # gateway, unasked: the pause has changed, or the day's sum
    RESUME = "resume"  # daemon: somebody said to go on: forget the pause


class LinkMessage(Model):
    """One line on gateway/daemon.sock."""

    kind: LinkKind
    version: str = ""  # hello
    order_digest: str = ""  # hello: SHA-256 of the order's JSON, so that a daemon sees whether it is still its own
    pid: int | None = None  # hello
    ref: Ref | None = None  # close, closed
    attempt: int | None = None
    since: Timestamp | None = None  # close: no call of the attempt is older
    account: AttemptAccount | None = None  # closed
    pause: Pause | None = None  # hello, news; none: nothing is paused
    day_spent_usd: float | None = None  # hello, closed, news: of this UTC day, by calls that have ended


class GatewayPlace(Model):
    """Where an attempt finds the gateway (spec.json)."""

    socket: str = "gateway/messages.sock"  # relative to the spool
    base_url: str  # http://127.0.0.1:PORT, for agents that need TCP
