"""Words for people: text of unknown origin made harmless, durations."""

from __future__ import annotations

import re

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_DIRECTIONS = r"\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they reorder what a terminal shows
_UNSAFE = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe(value: object) -> str:
    """Text of any number of lines in which nothing can move a terminal's cursor or ring its bell."""
    return _UNSAFE.sub(_escape, str(value))


def one_line(value: object, width: int = 0) -> str:
    """A value on one line, safe for a terminal; cut to `width` characters where that is not 0."""
    text = safe(" ".join(str(value).split()))
    return f"{text[: width - 1]}\u2026" if width and len(text) > width else text


def span(seconds: float) -> str:
    """A duration: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
