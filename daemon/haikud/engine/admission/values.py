"""How places and values of a document are shown: JSON Pointers, kinds, excerpts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_SHOWN = 120


def pointer_of(trail: Iterable[str | int]) -> str:
    """The JSON Pointer (RFC 6901) of a trail of keys and indices."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in trail)


def has_control_characters(text: str) -> bool:
    """Whether a text could move a terminal's cursor or break a line (C0, DEL and C1 characters)."""
    return any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


def quoted(text: str) -> str:
    """Text as it is shown in a fault: quoted, escaped, cut."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def shown(value: Any) -> str:
    """Any value of a document, in words: its kind, and what it is where that is short."""
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        keys = ", ".join(quoted(key[:40])[1:-1] for key in list(value)[:8])
        return f"an object with the keys {keys}" if value else "an empty object"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f"the string {quoted(value)}"
    return "null" if value is None else f"the number {value}"
