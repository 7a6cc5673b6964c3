"""What a command was given as a request, and what it says where the daemon would reject it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from haikud.interfaces.trouble import Trouble

if TYPE_CHECKING:
    from haikud.contracts.error_report import FieldFault


@dataclass(frozen=True)
class Given:
    """A request's name and bytes; where it was put together from other files, what to know about that."""

    name: str
    data: bytes
    places: Mapping[str, str] = field(default_factory=dict)  # JSON Pointer -> FILE:LINE that it was made from
    notes: tuple[str, ...] = ()


class CannotBeAdmitted(Trouble):
    """A request that the daemon would reject; `faults` are all of them, as its answer would list them."""

    def __init__(self, message: str, faults: list[FieldFault], *, advice: str) -> None:
        super().__init__(message, advice=advice)
        self.faults = faults


def place_of(pointer: str, places: Mapping[str, str]) -> str:
    """A pointer, or where what it points at was read: the place of the nearest value around it."""
    at = pointer
    while places:
        if at in places:
            return places[at] if at == pointer or not at else f"{places[at]} ({pointer[len(at) + 1 :]})"
        if not at:
            break
        at = at.rpartition("/")[0]
    return pointer
