"""A task's steps: texts, some of which may be optional ("Optional features fail -> continue"). Pure.

A step is a text, or `{"step": TEXT, "optional": true}`. A text that ends with "(optional)" says the same.
"""

from __future__ import annotations

import re
from typing import Any

from haikud.engine.admission.fields import Fields

_MARKED = re.compile(r"\(optional\)\s*[.:;]?$", re.IGNORECASE)


def read_steps(fields: Fields) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The texts of `steps` or `implementation_steps`, and which of them are optional: places, the first being 1."""
    optional: set[str] = set()
    for key in ("steps", "implementation_steps"):
        value = fields.value.get(key)
        if isinstance(value, list):
            optional |= _read_objects(fields, key, value)
    stated = fields.either("steps", "implementation_steps")
    return (
        tuple(step.text for step in stated),
        tuple(place for place, step in enumerate(stated, 1) if step.pointer in optional or _MARKED.search(step.text)),
    )


def _read_objects(fields: Fields, key: str, value: list[Any]) -> set[str]:
    """Read the steps that are objects; the pointers of the optional ones. Their texts then stand in their places."""
    optional: set[str] = set()
    texts: list[Any] = []
    for number, part in enumerate(value):
        if not isinstance(part, dict) or "step" not in part:
            texts.append(part)
            continue
        pointer = f"{fields.pointer(key)}/{number}"
        inner = Fields(part, pointer, fields.notes)
        texts.append(inner.text("step") or "")
        answer = inner.raw("optional")
        if answer is True:
            optional.add(pointer)
        elif answer is not None and answer is not False:
            inner.wrong("optional", "true or false", "write true or false, without quotes")
    fields.replace(key, texts)
    return optional
