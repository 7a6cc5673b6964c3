"""Words for people: text of unknown origin made harmless, durations, and what fits in a terminal's line."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

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


def seconds_since(stamp: object, now: datetime | None = None) -> float | None:
    """How long ago a time of status.json is; None where it is none."""
    try:
        return ((now or datetime.now(UTC)) - datetime.fromisoformat(str(stamp))).total_seconds()
    except (ValueError, TypeError):
        return None


def can_show_marks(encoding: str | None) -> bool:
    """Whether a terminal of that encoding has the guide's marks."""
    return (encoding or "").lower().replace("-", "") == "utf8"


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: marks and CJK take two, what combines none."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def cut(text: str, columns: int) -> str:
    """One line of at most so many columns, with an ellipsis where it is cut; 0: as long as it is."""
    if not columns or cells(text) <= columns:
        return text
    kept, room = "", columns - 1
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        kept += character
    return f"{kept}\u2026"


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
