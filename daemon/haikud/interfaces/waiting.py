"""Waiting for an answer, by files alone: a look every tenth of a second until there is something to say.

What makes an answer the right one, and not an old one under the same id:
- a rejection is old once a plan of that id was admitted, or while a mended request lies in incoming/;
- any answer is old while a retry that was asked for is not yet taken;
- for a request that we dropped ourselves, only what happens after its file has left incoming/ counts, and where it
  was set aside its reason names the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from haikud.interfaces.looking import (
    all_final,
    is_pending,
    open_escalations,
    plan_of,
    read_json,
    refs_of,
    request_is_pending,
    retry_is_pending,
    why_set_aside,
)
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.1


class EndKind(Enum):
    """What a wait came to."""

    RESPONSE = "response"
    BLOCKED = "blocked"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class WaitEnd:
    """How a wait ended; `document` is the response or the escalation, `path` where it lies."""

    kind: EndKind
    ref: str
    document: dict[str, Any]
    path: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 success, 1 failure or partial, 3 blocked, 4 timeout, 5 rejected, 6 cancelled."""
        if self.kind is EndKind.BLOCKED:
            return 3
        if self.kind is EndKind.TIMEOUT:
            return 4
        return {"success": 0, "rejected": 5, "cancelled": 6}.get(str(self.document.get("status")), 1)


@dataclass(frozen=True)
class Dropped:
    """A request that we have dropped: its file's name in incoming/, when (seconds since the epoch), and its bytes."""

    name: str
    at: float
    data: bytes | None = None


def wait_for_answer(
    layout: SpoolLayout,
    identifier: str,
    *,
    timeout: float | None = None,
    dropped: Dropped | None = None,
    each_look: Callable[[], None] = lambda: None,
) -> WaitEnd:
    """Wait until a plan or task has its answer, asks a question, or `timeout` seconds are over (None: for ever)."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        found = look_for_answer(layout, identifier, dropped)
        if found is not None:
            return found
        left = LOOK_SECONDS if end is None else end - time.monotonic()
        if left <= 0:
            return WaitEnd(EndKind.TIMEOUT, identifier, {})
        each_look()
        time.sleep(min(LOOK_SECONDS, left))


def look_for_answer(layout: SpoolLayout, identifier: str, dropped: Dropped | None = None) -> WaitEnd | None:
    """One look; None where there is nothing to say yet."""
    if dropped is not None:
        if is_pending(layout.incoming, dropped.name):
            return None
        reason = why_set_aside(layout, dropped.name, since=dropped.at, data=dropped.data)
        if reason is not None:
            return _rejection(layout, identifier, reason)
    if retry_is_pending(layout, identifier):
        return None
    return _published(layout, identifier) or _kept(layout, identifier) or _question(layout, identifier)


def _rejection(layout: SpoolLayout, identifier: str, reason: dict[str, Any]) -> WaitEnd:
    """The answer to a request of ours that was set aside.

    Its file has left incoming/, so it was published; where it is there no more (another reader took it, or it made way
    for a mended request under the same id), the reason says the same.
    """
    name = str(reason.get("answered_as") or f"{identifier}.json").rpartition("/")[2]
    path = layout.responses / name
    response = read_json(path)
    if response is not None and response.get("status") == "rejected":
        return WaitEnd(EndKind.RESPONSE, identifier, response, path)
    faults = reason.get("faults") or []
    report = {
        "type": "invalid_request",
        "task_id": identifier,
        "timestamp": reason.get("at"),
        "error": {"message": reason.get("reason"), "code": faults[0].get("code") if faults else None},
        "context": {"faults": faults},
    }
    kept = layout.rejected / f"{reason.get('stored_as')}.reason.json"
    return WaitEnd(EndKind.RESPONSE, identifier, {"status": "rejected", "payload": {"error_report": report}}, kept)


def _published(layout: SpoolLayout, identifier: str) -> WaitEnd | None:
    """What lies in responses/, where it is not an old rejection."""
    path = layout.responses / f"{identifier}.json"
    response = read_json(path)
    if response is None:
        return None
    plan_id = plan_of(identifier)
    if response.get("status") == "rejected" and (
        layout.plan(plan_id).plan.exists() or request_is_pending(layout, plan_id)
    ):
        return None
    return WaitEnd(EndKind.RESPONSE, identifier, response, path)


def _kept(layout: SpoolLayout, identifier: str) -> WaitEnd | None:
    """The copy in the plan's folder, for when someone took the published one away or none is published."""
    if not all_final(layout, identifier):
        return None
    is_plan = identifier == plan_of(identifier)
    paths = [layout.plan(identifier).response] if is_plan else []
    if not is_plan or refs_of(layout, identifier) == [identifier]:
        paths.append(layout.task(identifier).response)
    for path in paths:
        response = read_json(path)
        if response is not None:
            return WaitEnd(EndKind.RESPONSE, identifier, response, path)
    return None


def _question(layout: SpoolLayout, identifier: str) -> WaitEnd | None:
    for ref, escalation in open_escalations(layout, identifier).items():
        return WaitEnd(EndKind.BLOCKED, ref, escalation, layout.escalations / f"{ref}.json")
    return None
