"""Whether the prompt cache is read as it should be. Pure: looks at the usage that each answer reports.

A cache that is never read costs no error, only money: ten times the price of each token of context. So the first call
that read nothing, though the call before it had sent nearly all of its context a moment ago, is told, once.
"""

from __future__ import annotations

from haikud.contracts.usage import UsageEntry
from haikud.costs.model_facts import least_cacheable_tokens

_SURE_SECONDS = 240.0
"""Between the ends of two calls: the five minutes of a cache entry count from its call's beginning."""


class CacheWatch:
    """Looks at the calls of one conversation in their order."""

    def __init__(self, before: UsageEntry | None = None) -> None:
        self._before = before  # the last call of an earlier attempt
        self._told = False

    def look(self, entry: UsageEntry) -> str | None:
        """What is to be told about this call, if anything."""
        before, self._before = self._before, entry
        if self._told or before is None or entry.cache_read_tokens or entry.estimated or entry.model != before.model:
            return None
        seconds = (entry.at - before.at).total_seconds()
        if before.context_tokens < least_cacheable_tokens(entry.model) or not 0 <= seconds < _SURE_SECONDS:
            return None
        self._told = True
        return (
            f"the prompt cache is not read: this call paid in full for its {entry.context_tokens} tokens of context,"
            f" of which {before.context_tokens} had been sent {seconds:.0f} s before; look whether something between"
            " haikud and the API drops cache_control or changes requests"
        )
