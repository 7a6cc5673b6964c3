"""Progress of a plan or task for programs and pipes: each thing its agents report, on stderr, while someone waits.

Read from the attempts' events.jsonl, so that nothing is passed over however fast it comes: phases, an agent's own
progress, retries and waits for the API. Of what was said before the wait began, only the last word of each task is
told. One line each, or with `as_json` one message of the type `progress_update` a line, in the guide's envelope.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from haikud.interfaces.looking import plan_of, read_json, refs_of
from haikud.interfaces.plain import one_line
from haikud.spool.layout import SpoolLayout
from haikud.spool.reading import UntrustedFile, open_untrusted

LOOK_SECONDS = 0.4

TOLD = frozenset({"phase", "progress", "retry", "waiting"})
"""Kinds of events that are progress; tool calls and usage are the log's."""

_MOST_BYTES = 1 << 20
"""Of one read."""


@dataclass
class _Place:
    """How far a task's events were read."""

    attempt: int = 0
    offset: int = 0
    cost_usd: float = 0.0  # of this attempt, so far


class ProgressEvents:
    """Says on stderr what the agents of a plan or task report."""

    def __init__(self, layout: SpoolLayout, identifier: str, *, as_json: bool) -> None:
        self.layout = layout
        self.identifier = identifier
        self.as_json = as_json
        self._places: dict[str, _Place] = {}
        self._plan: dict[str, Any] | None = None
        self._next = 0.0
        for ref in self._refs():
            self._catch_up(ref)

    def look(self, *, last: bool = False) -> None:
        """Say what is new. Cheap when called often; call it once with `last` when the wait is over."""
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + LOOK_SECONDS
        for ref in self._refs():
            for event in self._new_events(ref):
                self._say(ref, event)

    def _refs(self) -> list[str]:
        """The refs, known from admission on; a plan never gets another task."""
        if not self._places:
            self._places = {ref: _Place() for ref in refs_of(self.layout, self.identifier)}
        return list(self._places)

    def _catch_up(self, ref: str) -> None:
        events = self._new_events(ref)
        if events:
            self._say(ref, events[-1])

    def _new_events(self, ref: str) -> list[dict[str, Any]]:
        """What a task's attempts have appended since the last look."""
        place, task = self._places[ref], self.layout.task(ref)
        found: list[dict[str, Any]] = []
        while True:
            if place.attempt:
                found += self._read_on(ref, place)
            if not task.attempt(place.attempt + 1).folder.exists():
                return found
            place.attempt, place.offset, place.cost_usd = place.attempt + 1, 0, 0.0

    def _read_on(self, ref: str, place: _Place) -> list[dict[str, Any]]:
        try:
            descriptor = open_untrusted(self.layout.task(ref).attempt(place.attempt).events)
        except (UntrustedFile, OSError):
            return []
        try:
            return list(self._read_whole(descriptor, place))
        finally:
            os.close(descriptor)

    def _read_whole(self, descriptor: int, place: _Place) -> Iterator[dict[str, Any]]:
        while True:
            try:
                data = os.pread(descriptor, _MOST_BYTES, place.offset)
            except OSError:
                return
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                return
            place.offset += len(whole)
            for line in whole.splitlines():
                event = _event(line)
                place.cost_usd += _cost(event)
                if event.get("kind") in TOLD:
                    yield {**event, "attempt": place.attempt, "cost_usd": round(place.cost_usd, 9)}

    def _say(self, ref: str, event: dict[str, Any]) -> None:
        click.echo(json.dumps(self._message(ref, event)) if self.as_json else _line(ref, event), err=True)

    def _message(self, ref: str, event: dict[str, Any]) -> dict[str, Any]:
        """The guide's envelope around one event."""
        plan_id = plan_of(ref)
        if self._plan is None:
            self._plan = read_json(self.layout.plan(plan_id).plan) or {}
        tasks = self._plan.get("tasks")
        roles = [one.get("role") for one in (tasks if isinstance(tasks, list) else []) if one.get("ref") == ref]
        return {
            "version": "1.0",
            "timestamp": event.get("at"),
            "sender": (roles or ["haikud"])[0],
            "receiver": self._plan.get("sender") or "main-agent",
            "message_type": "progress_update",
            "correlation_id": self._plan.get("correlation_id") or plan_id,
            "payload": {
                "ref": ref,
                **{name: event.get(name) for name in ("attempt", "kind", "phase", "percent", "message", "cost_usd")},
            },
        }


def _event(line: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _cost(event: dict[str, Any]) -> float:
    usage = event.get("usage") if event.get("kind") == "usage" else None
    cost = usage.get("cost_usd") if isinstance(usage, dict) else None
    return float(cost) if isinstance(cost, int | float) else 0.0


def _line(ref: str, event: dict[str, Any]) -> str:
    """`logout: 50% Integration tests passing`."""
    percent = event.get("percent")
    words = [f"{percent}%"] if isinstance(percent, int) else []
    if event.get("kind") in {"retry", "waiting"}:
        words.append(f"{event['kind']}:")
    return f"{one_line(ref)}: {' '.join([*words, one_line(event.get('message') or event.get('phase') or '')])}"
