"""Completing a request before it is dropped: its id and its repository, each where the request's shape has it. Pure."""

from __future__ import annotations

import copy
from typing import Any

_TRAILS = (
    ("payload", "task_plan"),
    ("payload", "task_plan", "context"),
    ("payload", "context"),
    ("payload", "task"),
    ("payload", "task", "context"),
    ("payload",),
    ("task_plan",),
    ("task_plan", "context"),
    ("context",),
    (),
)
"""Where a request may name its repository."""


def _at(document: Any, trail: tuple[str, ...]) -> dict[str, Any] | None:
    for key in trail:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else None


def names_repository(document: Any) -> bool:
    """Whether a request says itself which repository it is for."""
    return any((place := _at(document, trail)) is not None and place.get("repository") for trail in _TRAILS)


def with_repository(document: dict[str, Any], repository: str) -> dict[str, Any]:
    """The request with its repository, instead of the one it names or where its shape has it."""
    done = copy.deepcopy(document)
    for trail in _TRAILS:
        place = _at(done, trail)
        if place is not None and place.get("repository"):
            place["repository"] = repository
            return done
    payload = _at(done, ("payload",))
    if payload is not None and isinstance(payload.get("task"), dict):
        context = payload.setdefault("context", {})
        place = context if isinstance(context, dict) else payload
    else:
        place = _at(done, ("payload", "task_plan")) or _at(done, ("task_plan",)) or payload or done
    place["repository"] = repository
    return done


def with_id(document: dict[str, Any], plan_id: str) -> dict[str, Any]:
    """The request with an id stated at its top level, which every shape accepts."""
    return {"id": plan_id, **{key: value for key, value in document.items() if key != "id"}}
