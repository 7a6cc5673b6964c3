"""Reading a spool from outside: what an ID names, where its tasks are, what is on its way.

Only files are read, nothing is locked or changed, and nothing but the standard library is loaded. A file may vanish
or change between two looks; every function gives what it saw.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haikud.contracts.names import REF, RESERVED_IDS, task_ref
from haikud.contracts.states import FINAL_STATES, OPEN_STATES, TaskState
from haikud.interfaces.trouble import Trouble
from haikud.spool.layout import SpoolLayout

_REF = re.compile(REF)
FINAL = frozenset(state.value for state in FINAL_STATES)


def check_id(text: str) -> str:
    """`text`, where it can be the id of a plan or a task's ref; else `Trouble`."""
    if not _REF.fullmatch(text) or not RESERVED_IDS.isdisjoint(text.split(".")):
        raise Trouble(
            f"{text!r} cannot be an id",
            advice="an id is PLAN or PLAN.TASK, each of letters, digits, - and _; `haikud status` lists them",
        )
    return text


def plan_of(identifier: str) -> str:
    """The plan that an ID is or belongs to."""
    return identifier.partition(".")[0]


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none, or none that can be read."""
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """A folder's entries by name; none where it is not there."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def refs_of(layout: SpoolLayout, identifier: str) -> list[str]:
    """The refs of an admitted plan's tasks, or the one ref that `identifier` is; empty where it is not admitted."""
    plan_id, _, task_id = identifier.partition(".")
    names = [e.name for e in entries(layout.plan(plan_id).folder) if not e.name.startswith(".") and e.is_dir()]
    refs = [task_ref(plan_id, name, only_task=len(names) == 1) for name in names]
    return [ref for ref in refs if ref == identifier] if task_id else refs


def state_of(layout: SpoolLayout, ref: str) -> str | None:
    """The state under which a task's link lies. Looked for twice, since a link may move between two looks."""
    for _ in range(2):
        for state in TaskState:
            if os.path.lexists(layout.link(state, ref)):
                return state.value
    return None


def all_final(layout: SpoolLayout, identifier: str) -> bool:
    """Whether an admitted ID's tasks have all ended."""
    refs = refs_of(layout, identifier)
    return bool(refs) and all(state_of(layout, ref) in FINAL for ref in refs)


def open_refs_by_state(layout: SpoolLayout) -> dict[str, list[str]]:
    """Every state that is not final, and the refs under it, sorted."""
    return {state.value: sorted(names_in(layout.tasks / state)) for state in OPEN_STATES}


def count_final(layout: SpoolLayout) -> dict[str, int]:
    """Every final state, and how many tasks are in it: of a long history not even the names are sorted."""
    return {state.value: len(names_in(layout.tasks / state)) for state in FINAL_STATES}


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in no order; none where it is not there."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return []


def pending_in(folder: Path) -> Iterator[str]:
    """The names, as dropped, of what lies in a drop folder or was taken from it and is not yet settled."""
    for entry in entries(folder):
        if entry.name.startswith(".taken-"):
            yield entry.name.removeprefix(".taken-").partition("-")[2]
        elif not entry.name.startswith("."):
            yield entry.name


def is_pending(folder: Path, name: str) -> bool:
    """Whether a file dropped as `name` is among these."""
    # Twice: a listing may miss a file that is renamed meanwhile, and being taken is a rename.
    return any(name in pending_in(folder) for _ in range(2))


def retry_is_pending(layout: SpoolLayout, identifier: str) -> bool:
    """Whether someone has asked for a retry that makes the present answer of `identifier` an old one."""
    plan_id = plan_of(identifier)
    return any(
        name.endswith(".retry") and plan_of(name.removesuffix(".retry")) == plan_id
        for name in pending_in(layout.control)
    )


def request_is_pending(layout: SpoolLayout, plan_id: str) -> bool:
    """Whether a request whose file is named after the plan lies in incoming/, not yet admitted or rejected."""
    return any(name.partition(".")[0] == plan_id for name in pending_in(layout.incoming))


def open_escalations(layout: SpoolLayout, identifier: str | None = None) -> dict[str, dict[str, Any]]:
    """Ref -> escalation, for every question open (in a plan or task) that no one has dropped an answer to."""
    plan_id = plan_of(identifier) if identifier is not None else None
    answered = {name.rpartition(".")[0] for name in pending_in(layout.guidance)}
    found = {}
    for entry in entries(layout.escalations):
        ref = entry.name.removesuffix(".json")
        if entry.name.startswith(".") or ref == entry.name or ref in answered:
            continue
        if identifier is None or ref == identifier or (identifier == plan_id and plan_of(ref) == plan_id):
            escalation = read_json(Path(entry.path))
            if escalation is not None:
                found[ref] = escalation
    return found


def is_known(layout: SpoolLayout, identifier: str) -> bool:
    """Whether the spool has heard of an ID: admitted, answered, pruned, or lying in incoming/ under that name."""
    plan_id = plan_of(identifier)
    return bool(
        refs_of(layout, identifier)
        or os.path.lexists(layout.pruned / plan_id)
        or os.path.lexists(layout.responses / f"{identifier}.json")
        or request_is_pending(layout, plan_id)
    )


def check_not_pruned(layout: SpoolLayout, identifier: str) -> None:
    """`Trouble` for what was pruned: no answer of it is left, and none will come."""
    plan_id = plan_of(identifier)
    gone = os.path.lexists(layout.pruned / plan_id) and not os.path.lexists(layout.plan(plan_id).folder)
    if gone and not request_is_pending(layout, plan_id):
        raise Trouble(
            f"the plan {plan_id} was pruned, its answers and logs with it",
            advice="its commits were merged, pushed or kept as refs/haikud/rescue/; new work needs a new id",
        )


def check_task_of_known_plan(layout: SpoolLayout, identifier: str) -> None:
    """`Trouble` for a task that an admitted plan does not have: it will never come."""
    plan_id = plan_of(identifier)
    refs = refs_of(layout, plan_id)
    if not refs or identifier == plan_id or identifier in refs:
        return
    shown = ", ".join(refs[:10]) + (", ..." if len(refs) > 10 else "")
    raise Trouble(f"the plan {plan_id} has no task {identifier}", advice=f"it has {shown}")


def why_set_aside(layout: SpoolLayout, name: str, *, since: float, data: bytes | None = None) -> dict[str, Any] | None:
    """The reason of a dropped file of that name that was set aside after `since` (seconds since the epoch).

    With `data`, of that very content: another producer's file of the same name may have been set aside meanwhile.
    """
    for entry in entries(layout.rejected):
        if not entry.name.endswith(".reason.json"):
            continue
        try:
            newer = entry.stat().st_mtime >= since - 0.05  # file times are the kernel's coarse clock's
        except FileNotFoundError:
            continue
        reason = read_json(Path(entry.path)) if newer else None
        if reason is None or reason.get("name") != name:
            continue
        if data is None or _holds(layout.rejected / str(reason.get("stored_as")), data):
            return reason
    return None


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file that was set aside has that content; also where it cannot be read, or was taken away."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return True
