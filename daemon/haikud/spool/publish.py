"""What requesters read: responses/ and escalations/, and the answers that lie in the plans' own folders.

Promises: an answer appears whole and durably, and is never overwritten by another request's. Only a rejection makes
way (for the mended request's answer or for a newer rejection), and an answer for a newer one to the same request. What
a reader took away is not brought back here.

Where a folder is open to a group (its set-group-id bit says so) what is published there is a copy that the group may
read and remove; otherwise it is a hard link. Fails with OSError.
"""

from __future__ import annotations

import json
import os
import re
import stat
from itertools import count
from pathlib import Path

from haikud.contracts.envelope import Response, Status
from haikud.spool.durable import (
    copy_linked,
    fsync_folder,
    remove_if_there,
    write_durably,
    write_new_durably,
)
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.reading import UntrustedFile, read_untrusted

GROUP_FILE_MODE = 0o660
MOST_ANSWER_BYTES = 256 * 1024 * 1024
"""More than any answer has: a bound on what a reader may have put in an answer's place."""

_OLDER = re.compile(r"response\.([0-9]+)\.json")


def _group_mode(folder: Path) -> int | None:
    """The mode of files in a folder that is open to a group; None where it is not."""
    return GROUP_FILE_MODE if folder.stat().st_mode & stat.S_ISGID else None


def _put(source: Path, target: Path) -> bool:
    return copy_linked(source, target, copy_mode=_group_mode(target.parent))


def _present(path: Path) -> bytes | None:
    """What is published there; None where nothing is, or nothing that haikud put there."""
    try:
        return read_untrusted(path, MOST_ANSWER_BYTES)
    except UntrustedFile:
        return None


def _is_rejection(data: bytes) -> bool:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("status") == Status.REJECTED


def older_responses(folder: Path) -> list[Path]:
    """response.1.json, response.2.json, ... in a plan's or task's folder: the oldest first."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _OLDER.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def publish_response(layout: SpoolLayout, source: Path, name: str) -> bool:
    """Publish `source`, a plan's or task's response.json, as responses/NAME; False where another's answer is there.

    True also where it is there already. May be repeated after a crash.
    """
    target = layout.responses / name
    if _put(source, target):
        return True
    present = _present(target)
    data = source.read_bytes()
    if present == data:
        return True
    if present is None:
        return not os.path.lexists(target) and _put(source, target)  # False: a folder or a symlink, put by hand
    ours = _is_rejection(present) or any(path.read_bytes() == present for path in older_responses(source.parent))
    if ours:
        write_durably(target, data, _group_mode(target.parent) or 0o600)
    return ours


def next_rejected_name(layout: SpoolLayout, plan_id: str) -> str:
    """The next free `ID.rejected.N.json` of responses/."""
    names = (f"{plan_id}.rejected.{number}.json" for number in count(1))
    return next(name for name in names if not os.path.lexists(layout.responses / name))


def write_rejection(layout: SpoolLayout, plan_id: str, response: Response) -> str:
    """Publish a rejection durably; the name it got in responses/.

    `ID.json` where no plan has or had that id and nothing but an older rejection is there; else `ID.rejected.N.json`.
    """
    data = dump(response)
    mode = _group_mode(layout.responses) or 0o600
    if not os.path.lexists(layout.plan(plan_id).folder) and not os.path.lexists(layout.pruned / plan_id):
        name = f"{plan_id}.json"
        present = _present(layout.responses / name)
        if present is not None and _is_rejection(present):
            write_durably(layout.responses / name, data, mode)
            return name
        try:
            write_new_durably(layout.responses / name, data, mode)
        except FileExistsError:
            pass
        else:
            return name
    while True:
        name = next_rejected_name(layout, plan_id)
        try:
            write_new_durably(layout.responses / name, data, mode)
        except FileExistsError:
            continue
        return name


def retract(layout: SpoolLayout, name: str) -> bool:
    """Take responses/NAME back, durably: its request was mended, or its task is retried. Whether it was there."""
    return _remove(layout.responses / name)


def retract_rejection(layout: SpoolLayout, plan_id: str) -> bool:
    """Take responses/ID.json back where it is a rejection: the mended request is admitted under the same id."""
    path = layout.responses / f"{plan_id}.json"
    present = _present(path)
    return present is not None and _is_rejection(present) and _remove(path)


def _remove(path: Path) -> bool:
    removed = remove_if_there(path)
    if removed:
        fsync_folder(path.parent)
    return removed


def rotate_response(folder: Path) -> Path | None:
    """Rename response.json to the next free response.N.json, durably; its new path, None where there was none."""
    current = folder / "response.json"
    if not current.exists():
        return None
    older = older_responses(folder)
    number = int(older[-1].name.split(".")[1]) + 1 if older else 1
    target = folder / f"response.{number}.json"
    current.rename(target)
    fsync_folder(folder)
    return target


def publish_escalation(layout: SpoolLayout, source: Path, ref: str) -> None:
    """Publish a task's newest escalation-NNNN.json as escalations/REF.json; an older question makes way."""
    target = layout.escalations / f"{ref}.json"
    if not _put(source, target):
        write_durably(target, source.read_bytes(), _group_mode(target.parent) or 0o600)


def retract_escalation(layout: SpoolLayout, ref: str) -> bool:
    """Take an answered question back. Whether it was there."""
    return _remove(layout.escalations / f"{ref}.json")
