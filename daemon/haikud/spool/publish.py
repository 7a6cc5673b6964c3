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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from haikud.contracts.envelope import Response, Status
from haikud.contracts.ids import first_free
from haikud.spool.durable import (
    copy_linked,
    fsync_folder,
    fsync_names,
    remove_if_there,
    write_durably,
)
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.reading import UntrustedFile, read_untrusted
from haikud.spool.renaming import rename_without_replacing

GROUP_FILE_MODE = 0o660
MOST_ANSWER_BYTES = 256 * 1024 * 1024
"""More than any answer has: a bound on what a reader may have put in an answer's place."""

_UNPUBLISHED = ".rejected-"
_OLDER = re.compile(r"response\.([0-9]+)\.json")


def _group_mode(folder: Path) -> int | None:
    """The mode of files in a folder that is open to a group; None where it is not."""
    return GROUP_FILE_MODE if folder.stat().st_mode & stat.S_ISGID else None


def is_copied_to(folder: Path) -> bool:
    """Whether what is published there is a copy, and no hard link."""
    return _group_mode(folder) is not None


def _put(source: Path, target: Path) -> bool:
    return copy_linked(source, target, copy_mode=_group_mode(target.parent))


def _replace(target: Path, data: bytes) -> None:
    write_durably(target, data, _group_mode(target.parent) or 0o600)


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
        _replace(target, data)
    return ours


def publish_responses(layout: SpoolLayout, sources: Mapping[str, Path]) -> None:
    """Publish several at once, by name, as `publish_response` does each; the folder is fsynced once."""
    linked: list[Path] = []
    if _group_mode(layout.responses) is None:
        for name, source in sources.items():
            with suppress(OSError):  # a name that is taken, a link that is refused: what to do then, the other knows
                os.link(source, layout.responses / name, follow_symlinks=False)
                linked.append(layout.responses / name)
    if linked:
        fsync_names(layout.responses, *linked)
    for name, source in sources.items():
        if layout.responses / name not in linked:
            publish_response(layout, source, name)


def rejection_name(layout: SpoolLayout, plan_id: str, dropped_as: str | None = None) -> str:
    """The name in responses/ for a rejection under that id, free now.

    `ID.json` where no plan has or had that id and nothing but an older rejection is there; else `ID.rejected.N.json`.
    With `dropped_as`, for a request whose id only comes from its file's name, the older one must be of such a file:
    many names make the same id.
    """
    if not os.path.lexists(layout.plan(plan_id).folder) and not os.path.lexists(layout.pruned / plan_id):
        name = f"{plan_id}.json"
        if _makes_way(layout.responses / name, dropped_as):
            return name
    return first_free(
        lambda number: f"{plan_id}.rejected.{number}.json", lambda name: os.path.lexists(layout.responses / name)
    )


def write_rejection(layout: SpoolLayout, token: str, response: Response) -> None:
    """Write a rejection durably, under a dot-name that its request's token gives: nobody's answer yet.

    Between here and `publish_rejection` its reason is recorded. So a crash in between leaves either no word on the
    request, or a word with the answer ready; and what was published once is gone from here.
    """
    _replace(_unpublished(layout, token), dump(response))


def publish_rejection(layout: SpoolLayout, token: str, name: str) -> str:
    """Publish what `write_rejection` wrote, as responses/NAME; the name it got where that is no longer free.

    Does nothing where it was published already.
    """
    source = _unpublished(layout, token)
    if not os.path.lexists(source):
        return name
    plan_id = name.removesuffix(".json").partition(".")[0]
    while True:
        target = layout.responses / name
        try:
            if name == f"{plan_id}.json" and _makes_way(target):
                source.replace(target)
            else:
                rename_without_replacing(source, target)
        except FileExistsError:
            name = rejection_name(layout, plan_id)
            continue
        fsync_folder(layout.responses)
        return name


def unpublished_rejections(layout: SpoolLayout) -> set[str]:
    """The tokens of the rejections that were written and not published."""
    names = os.listdir(layout.responses)  # noqa: PTH208 - names only: every answer of the history lies there
    ours = (name for name in names if name.startswith(_UNPUBLISHED) and name.endswith(".json"))
    return {name.removeprefix(_UNPUBLISHED).removesuffix(".json") for name in ours}


def drop_rejection(layout: SpoolLayout, token: str) -> None:
    """Remove a rejection without a recorded reason that a crash left: nothing was said on its request."""
    remove_if_there(_unpublished(layout, token))


def _unpublished(layout: SpoolLayout, token: str) -> Path:
    return layout.responses / f"{_UNPUBLISHED}{token}.json"


def _makes_way(path: Path, dropped_as: str | None = None) -> bool:
    """Whether a rejection may have that name: nothing is there, or an older rejection (of a file of that name)."""
    if not os.path.lexists(path):
        return True
    present = _present(path)
    if present is None or not _is_rejection(present):
        return False
    words = json.dumps(f"{dropped_as} was not admitted", ensure_ascii=False)[1:-1]
    return dropped_as is None or words.encode() in present


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
    """Publish a task's newest escalation-NNNN.json as escalations/REF.json; an older question makes way.

    What is there already is left as it is: a file that was written anew is news to those who watch the folder.
    """
    target = layout.escalations / f"{ref}.json"
    if not _put(source, target):
        data = source.read_bytes()
        if _present(target) != data:
            _replace(target, data)


def retract_escalation(layout: SpoolLayout, ref: str) -> bool:
    """Take an answered question back. Whether it was there."""
    return _remove(layout.escalations / f"{ref}.json")
