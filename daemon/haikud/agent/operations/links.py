"""Issues in an operation's params: a number, or in links `#12` or a URL."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints


def _as_link(value: object) -> object:
    """A bare number is an issue's: 12 means #12."""
    return f"#{value}" if isinstance(value, int) and not isinstance(value, bool) else value


def _as_number(value: object) -> object:
    """`"12"` and `"#12"` serve too: a plan may put an earlier answer's number into a text."""
    text = value.removeprefix("#") if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else value


IssueNumber = Annotated[int, BeforeValidator(_as_number), Field(ge=1)]

Link = Annotated[str, BeforeValidator(_as_link), StringConstraints(min_length=1, pattern=r"^[^\s,]+$")]
"""No spaces and commas, which would end it where links are listed."""
