"""Listening to a model call while it goes on: whether it is to end, and a sign of life of an answer that streams in."""

from __future__ import annotations

import time

from haikud.agent.haiku.incoming import Incoming
from haikud.agent.haiku.order import HaikuOrder
from haikud.agent.life import seconds_between
from haikud.agent.stop import Stop

ORDERS_SECONDS = 2.0
"""Between two looks at the orders; TERM is seen at once."""

TICK_SECONDS = 0.1
"""Between two looks at an event that nobody tells of."""


class Listening:
    """Asked when there is reason to, and each `look_seconds`."""

    def __init__(self, order: HaikuOrder, incoming: Incoming) -> None:
        self._order = order
        self._incoming = incoming
        self._every = seconds_between(order.spec.monitors)
        self._looked_at = self._said_at = time.monotonic()
        self._told = 0
        self.descriptor = order.stop.descriptor if isinstance(order.stop, Stop) else None
        self.look_seconds = TICK_SECONDS if self.descriptor is None else min(ORDERS_SECONDS, self._every)

    def is_set(self) -> bool:
        """Whether the call is to end now."""
        if self._order.stop.is_set():
            return True
        now, received = time.monotonic(), self._incoming.received
        if received > self._told and now - self._said_at >= self._every:
            self._order.events.output("")  # pings alone are no answer
            self._told, self._said_at = received, now
        if now - self._looked_at < ORDERS_SECONDS:
            return False
        self._looked_at = now
        return self._order.cuts_call()
