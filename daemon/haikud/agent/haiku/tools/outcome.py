"""What a tool gives back. Bad input and what the system refuses are results with `is_error`, never exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haikud.contracts.attempt import Question


@dataclass(frozen=True)
class ToolOutcome:
    """One tool result."""

    text: str
    is_error: bool = False
    question: Question | None = None  # the agent escalates: the attempt ends after this result
    stopped: bool = False  # the attempt is being ended: no further tool runs


class BadInput(Exception):  # noqa: N818 -- the name says what is the case
    """The model's call makes no sense; the message tells it why and what would."""


def required_text(given: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    """A text parameter. BadInput where it is missing, of another type, or empty against `empty`."""
    value = given.get(name)
    if not isinstance(value, str):
        raise BadInput(f"`{name}` must be given as text, not {_shown(value)}.")
    if not value and not empty:
        raise BadInput(f"`{name}` must not be empty.")
    return value


def required_number(given: Mapping[str, Any], name: str) -> int:
    """A whole number; numbers written as text or as 3.0 are taken too, as models write them."""
    value = given.get(name)
    if isinstance(value, str | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            raise BadInput(f"`{name}` must be a whole number, not {_shown(value)}.") from None
        value = int(number) if number.is_integer() else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(f"`{name}` must be a whole number, not {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:80]
