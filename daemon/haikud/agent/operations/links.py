"""Links of an issue in an operation's params: `#12`, a URL, or a bare number."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints


def _as_link(value: object) -> object:
    """A bare number is an issue's: 12 means #12."""
    return f"#{value}" if isinstance(value, int) and not isinstance(value, bool) else value


Link = Annotated[str, BeforeValidator(_as_link), StringConstraints(min_length=1, pattern=r"^[^\s,]+$")]
"""No spaces and commas, which would end it where links are listed."""
