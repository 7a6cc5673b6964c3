"""Who asks, and under which id the answer goes: found in any document, even one that cannot be admitted. Pure.

A stated id is the first of `task_plan.id`, `task_id`, the top-level `id`, `correlation_id`; it is never cleaned. A
request that states none (or an unusable one, which is a fault) gets an id from its file's stem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from haikud.contracts.error_report import FieldFault
from haikud.contracts.ids import RESERVED_IDS, first_free, id_from_stem, is_usable_id
from haikud.engine.admission.rejection import FaultCode, make_fault
from haikud.engine.admission.values import pointer_of, shown

ID_RULE = "1 to 100 letters, digits, - and _, the first a letter or digit, and neither `all` nor `lock`"


@dataclass(frozen=True)
class Identity:
    """The id of a request, and the sender that its answer goes to."""

    plan_id: str
    states_id: bool  # whether the request states it
    fault: FieldFault | None  # what is wrong with the stated id
    sender: str | None
    correlation_id: str | None


def identify(document: Any, name: str, is_taken: Callable[[str], bool]) -> Identity:
    """The identity of a request that was dropped as `name`. `is_taken` keeps an id made from the name free."""
    fault = None
    plan_id = None
    for trail, value in _statements(document):
        if isinstance(value, str) and is_usable_id(value):
            plan_id = value
        else:
            fault = bad_id(pointer_of(trail), value)
        break
    return Identity(
        plan_id=plan_id or free_id(name, is_taken),
        states_id=plan_id is not None,
        fault=fault,
        sender=_short_text(document, "sender"),
        correlation_id=_short_text(document, "correlation_id") or _short_text(_payload(document), "correlation_id"),
    )


def bad_id(pointer: str, value: Any) -> FieldFault:
    """The fault of an id that cannot be used, with the nearest one that could."""
    fix = "leave it out: the file's name then gives the id"
    if isinstance(value, bool | int | float):
        fix = f'put quotes around it: "{str(value).lower()}"' if is_usable_id(str(value).lower()) else fix
    elif isinstance(value, str) and value.strip():
        near = id_from_stem(value)
        fix = f"write {near}, or leave it out" if is_usable_id(near) else fix
    reserved = " (reserved)" if isinstance(value, str) and value in RESERVED_IDS else ""
    length = f" of {len(value)} characters" if isinstance(value, str) and len(value) > 100 else ""
    return make_fault(FaultCode.BAD_ID, pointer, found=f"{shown(value)}{length}{reserved}", expected=ID_RULE, fix=fix)


def free_id(name: str, is_taken: Callable[[str], bool]) -> str:
    """An id from a file's stem, with -2, -3 ... where that is taken."""
    base = id_from_stem(PurePath(name).stem)
    return first_free(lambda number: base if number == 1 else f"{base}-{number}", is_taken)


def _payload(document: Any) -> Any:
    return document.get("payload") if isinstance(document, dict) else None


def _statements(document: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Where a document can state its id: trail and value, the first one first."""
    for trail in (
        ("task_plan", "id"),
        ("payload", "task_plan", "id"),
        ("task_id",),
        ("payload", "task_id"),
        ("task_plan", "task_id"),
        ("payload", "task_plan", "task_id"),
        ("payload", "task", "task_id"),
        ("task", "task_id"),
        ("id",),
        ("payload", "id"),
        ("payload", "task", "id"),
        ("task", "id"),
        ("correlation_id",),
        ("payload", "correlation_id"),
    ):
        value = document
        for key in trail:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            yield trail, value


def _short_text(document: Any, key: str) -> str | None:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        return None
    return " ".join("".join(c for c in value if c.isprintable()).split()) or None
