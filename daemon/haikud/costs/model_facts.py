"""What the Messages API's documentation says of its models and no response tells: two lengths, in tokens. Pure.

Prices are not here: those come from genai-prices (prices.py). A model that is not listed counts as one of the newest.
"""

from __future__ import annotations

_LEAST_CACHEABLE = {
    "claude-haiku-4-5": 4_096,
    "claude-opus-4-5": 4_096,
    "claude-opus-4-6": 4_096,
    "claude-sonnet-4-5": 1_024,
    "claude-sonnet-4-6": 1_024,
    "claude-sonnet-5-5": 1_024,
}
_LEAST_CACHEABLE_OF_OTHERS = 512

_WINDOWS = {"claude-haiku-4-5": 200_000, "claude-sonnet-4-5": 200_000, "claude-opus-4-5": 200_000}
_WINDOW_OF_OTHERS = 1_000_000


def least_cacheable_tokens(model: str) -> int:
    """How long a prefix must be, at least, to be cached; a shorter one is processed in full, without an error."""
    return _of(model, _LEAST_CACHEABLE, _LEAST_CACHEABLE_OF_OTHERS)


def window_tokens(model: str) -> int:
    """How much a request and its answer may hold together."""
    return _of(model, _WINDOWS, _WINDOW_OF_OTHERS)


def _of(model: str, table: dict[str, int], otherwise: int) -> int:
    """By the name without its date: claude-haiku-4-5-20251001 is a claude-haiku-4-5."""
    return next((number for name, number in table.items() if model == name or model.startswith(f"{name}-")), otherwise)
