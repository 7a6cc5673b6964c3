"""What is wrong with the spool's machine, as `haikud status` shows it: what the daemon says, and what is seen here.

A daemon on a read-only filesystem cannot say anything in status.json, and one that is dead says nothing new: so the
filesystem is looked at here too. Read without pydantic, as the rest of the picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from haikud.interfaces.plain import one_line, span
from haikud.spool.layout import SpoolLayout

LEAST_BYTES = 1_048_576
"""With less room no daemon can work, whatever its settings say."""

_OLD_SECONDS = 60.0


def look_at_filesystem(layout: SpoolLayout) -> dict[str, Any]:
    """Whether the spool's filesystem is read-only, and the bytes that are free; empty where it cannot be asked."""
    try:
        found = os.statvfs(layout.root)
    except OSError:
        return {}
    return {"read_only": bool(found.f_flag & os.ST_RDONLY), "free_bytes": found.f_bavail * found.f_frsize}


def all_faults(layout: SpoolLayout, told: object, filesystem: dict[str, Any]) -> list[dict[str, Any]]:
    """The daemon's faults, and those that are seen here and that it has not told (`since` is null then)."""
    faults = [fault for fault in told if isinstance(fault, dict)] if isinstance(told, list) else []
    kinds = {fault.get("kind") for fault in faults}
    seen: list[tuple[str, str]] = []
    if filesystem.get("read_only"):
        seen.append(("read_only", f"the filesystem of {layout.root} is mounted read-only"))
    elif filesystem.get("free_bytes", LEAST_BYTES) < LEAST_BYTES:
        free = filesystem["free_bytes"] // 1024
        seen.append(("no_space", f"{free} KiB are free on the filesystem of {layout.root}"))
    return [*faults, *(_seen_here(kind, message) for kind, message in seen if kind not in kinds)]


def _seen_here(kind: str, message: str) -> dict[str, Any]:
    from haikud.contracts.live import FaultKind
    from haikud.engine.machine.faults import CURES

    return {
        "kind": kind,
        "doing": "seen by this command: the daemon cannot say so itself",
        "message": message,
        "cure": CURES[FaultKind(kind)],
        "since": None,
        "holds_work": True,
    }


def fault_lines(picture: dict[str, Any], seconds_since: Any) -> Iterator[str]:
    """Each fault in two lines: what and since when, and the cure."""
    faults = picture.get("faults")
    for fault in faults if isinstance(faults, list) else []:
        if not isinstance(fault, dict):
            continue
        ago = seconds_since(fault.get("since"))
        since = f" for {span(ago)}" if ago is not None else ""
        held = ", no work is taken" if fault.get("holds_work") else ""
        doing = f"{one_line(fault['doing'])}: " if fault.get("doing") else ""
        yield f"Fault{since}{held}: {one_line(fault.get('kind'))}: {doing}{one_line(fault.get('message'), 300)}"
        yield f"  Cure: {one_line(fault.get('cure'), 300)}"
    if not faults:
        trouble = picture.get("trouble")
        for line in trouble if isinstance(trouble, list) else []:
            yield f"Fault: {one_line(line)}"
    age = picture.get("updated_seconds_ago")
    if faults and isinstance(age, float) and age > _OLD_SECONDS:
        yield f"  (what follows is as of {span(age)} ago)"
