"""What an attempt has paid for: the sum, told in its log and among its events.

Promises: every model call that cost anything is one usage entry, one `tokens_used` and one `context_tokens` line in the
log and one event, so that these always add up to the same.
"""

from __future__ import annotations

from haikud.agent.events import EventLog
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.spool.agent_log import AgentLog


class Charges:
    """The charges of one attempt."""

    def __init__(self, log: AgentLog, events: EventLog) -> None:
        self._log = log
        self._events = events
        self.total = UsageTotal()
        self.by_model: dict[str, UsageTotal] = {}

    def add(self, entry: UsageEntry) -> None:
        """Count what was paid and tell it."""
        self.total = self.total.plus_entry(entry)
        self.by_model[entry.model] = self.by_model.get(entry.model, UsageTotal()).plus_entry(entry)
        self._log.fact(f"context_tokens {entry.context_tokens}")
        self._log.fact(f"tokens_used {entry.tokens_used}")
        self._events.usage(entry)
