"""Preparing a plan: everything that stands between a dropped file's bytes and `plans/PLAN/plan.json`.

`prepare_plan` reads, recognises, normalises and checks a request, asks git its read-only questions (so call it off
the event loop), and returns the whole plan or raises `Rejected` with every fault. It writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from haikud.contracts.decision import Decision
from haikud.contracts.plan import Plan
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.roles.files import RoleFile


def content_sha256(data: bytes) -> str:
    """The SHA-256 of a request's bytes, in hex: what tells the same request from another one under its id."""
    return hashlib.sha256(data).hexdigest()


def prepare_plan(
    data: bytes,
    name: str,
    token: str,
    *,
    settings: Settings,
    spool_root: Path,
    now: datetime,
    catalogue: Mapping[str, RoleFile],
    is_taken: Callable[[str], bool],
) -> Plan:
    """The plan that a dropped file asks for. Raises `Rejected`, and nothing else for any input.

    `name` is the file's name as dropped, `token` that of the taken file, `catalogue` what `find_roles` returned.
    `is_taken` tells whether a plan id is used: an id made from the file's stem avoids those; a stated id is not
    checked here (the daemon compares contents). Waits for git: not for the event loop.
    """
    raise NotImplementedError


def first_decisions(plan: Plan, now: datetime) -> dict[str, Decision]:
    """Task id -> its decision number 1: `waiting` where it has dependencies, else `queued`."""
    return {
        task.id: Decision(
            number=1,
            at=now,
            ref=task.ref,
            state=TaskState.WAITING if task.dependencies else TaskState.QUEUED,
            reason=f"admitted; waits for {', '.join(task.dependencies)}" if task.dependencies else "admitted",
        )
        for task in plan.tasks
    }
