"""Identifiers: which are allowed, and how a task is named across plans (the task ref, REF)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from haikud.contracts.names import ID_PATTERN, RESERVED_IDS, id_from_stem, is_usable_id, split_ref, task_ref

__all__ = [
    "ID_PATTERN",
    "RESERVED_IDS",
    "Id",
    "Ref",
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


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN), AfterValidator(_check_id)]
"""A plan's or a task's id."""

Ref = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,99})?$")]
"""A task ref: `PLAN.TASK` or `PLAN`."""
