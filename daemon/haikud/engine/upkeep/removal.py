"""Taking a plan out of the spool, in steps each of which may be the last before a kill -9.

1. The tombstone `plans/.pruned/PLAN`, durable: from here on the id is used twice over, never free.
2. `plans/PLAN` is renamed to `plans/.PLAN.pruned`: the commit point. The daemon knows the plan no more.
3. What lay outside goes: published answers, links in tasks/ and logs/. Rejections under the id are others' answers.
4. The hidden folder goes.

Between 1 and 2 the plan is whole; after 2 `finish_removal` ends what is left, at any later time.
"""

from __future__ import annotations

import os

from haikud.contracts.plan import Plan
from haikud.contracts.states import FINAL_STATES
from haikud.contracts.tombstone import Tombstone
from haikud.spool.durable import fsync_folder, remove_if_there, write_durably
from haikud.spool.layout import REMOVAL, SpoolLayout
from haikud.spool.models import UnreadableFile, dump_as_is, read_model
from haikud.workspace.files import remove_entry


def put_tombstone(layout: SpoolLayout, tombstone: Tombstone) -> None:
    """Step 1. May be repeated."""
    write_durably(layout.pruned / tombstone.plan_id, dump_as_is(tombstone))


def take_out(layout: SpoolLayout, plan_id: str) -> None:
    """Step 2."""
    layout.plan(plan_id).folder.rename(layout.plan_being_removed(plan_id).folder)
    fsync_folder(layout.plans)


def put_back(layout: SpoolLayout, plan_id: str) -> None:
    """Undo steps 2 and 1: someone has just asked for the plan."""
    layout.plan_being_removed(plan_id).folder.rename(layout.plan(plan_id).folder)
    fsync_folder(layout.plans)
    remove_if_there(layout.pruned / plan_id)
    fsync_folder(layout.pruned)


def unfinished(layout: SpoolLayout) -> list[str]:
    """The ids of plans that an earlier prune took out and did not clear away."""
    matches = (REMOVAL.fullmatch(path.name) for path in layout.plans.iterdir())
    return sorted(match[1] for match in matches if match)


def finish_removal(layout: SpoolLayout, plan_id: str) -> None:
    """Steps 3 and 4. May be repeated."""
    refs = _refs(layout, plan_id)
    touched = set()
    answers = {f"{plan_id}.json", *(f"{ref}.json" for ref in refs)}
    paths = [layout.responses / name for name in answers]
    for ref in refs:
        paths += [layout.link(state, ref) for state in FINAL_STATES]
        paths.append(layout.log_link(ref))
    for path in paths:
        if remove_if_there(path):
            touched.add(path.parent)
    for folder in sorted(touched):
        fsync_folder(folder)
    folder = layout.plan_being_removed(plan_id).folder
    if os.path.lexists(folder):
        remove_entry(folder)  # agents' folders may be deeper than Python's own removal goes
        fsync_folder(layout.plans)


def _refs(layout: SpoolLayout, plan_id: str) -> list[str]:
    try:
        plan = read_model(layout.plan_being_removed(plan_id).plan, Plan)
        if plan is not None:
            return [task.ref for task in plan.tasks]
        tombstone = read_model(layout.pruned / plan_id, Tombstone)
    except UnreadableFile:
        return []
    return list(tombstone.refs) if tombstone is not None else []
