"""Identifiers: which are allowed, and how a task is named across plans (the task ref, REF)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from haikud.contracts.names import ID, REF, RESERVED_IDS, id_from_stem, is_usable_id, split_ref, task_ref

__all__ = [
    "RESERVED_IDS",
    "Id",
    "Ref",
    "first_free",
    "id_from_stem",
    "is_usable_id",
    "split_ref",
    "task_ref",
]


def _check_id(text: str) -> str:
    if text in RESERVED_IDS:
        msg = f"{text!r} is reserved"
        raise ValueError(msg)
    return text


Id = Annotated[str, StringConstraints(pattern=f"^{ID}$"), AfterValidator(_check_id)]
"""A plan's or a task's id."""

Ref = Annotated[str, StringConstraints(pattern=f"^{REF}$")]
"""A task ref: `PLAN.TASK` or `PLAN`."""


MOST_TRIED_IN_TURN = 50


def first_free(name_of: Callable[[int], str], is_taken: Callable[[str], bool]) -> str:
    """The first free of name_of(1), name_of(2), ...; of very many a free one, found without trying them all."""
    for number in range(1, MOST_TRIED_IN_TURN):
        if not is_taken(name_of(number)):
            return name_of(number)
    taken, free = MOST_TRIED_IN_TURN - 1, MOST_TRIED_IN_TURN
    while is_taken(name_of(free)):
        taken, free = free, 2 * free
    while free - taken > 1:
        middle = (taken + free) // 2
        if is_taken(name_of(middle)):
            taken = middle
        else:
            free = middle
    return name_of(free)
