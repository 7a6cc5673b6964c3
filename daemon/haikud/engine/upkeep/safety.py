"""Whether a finished task holds work that is nowhere else: asked of its worktree, its branch and its own git folder.

What is found here decides; nothing is removed here. An agent's commits that still wait in its git folder are taken home
first, which loses nothing. Raises WorkspaceError where git cannot tell.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.engine.upkeep.look import evidence_of
from haikud.spool.layout import TaskPaths
from haikud.workspace.commits import find_leftovers
from haikud.workspace.files import is_there
from haikud.workspace.git import as_text
from haikud.workspace.ownership import read_owner
from haikud.workspace.private_git import commits_elsewhere, harvest
from haikud.workspace.removal import Safety, rescue_ref, safety_of, uncommitted_words, unsaved_words

_BRANCH = {
    Safety.NONE: "deleted: it had no commit of its own",
    Safety.MERGED: "deleted: it is merged",
    Safety.PUSHED: "stays: it is pushed, not merged",
    Safety.RESCUED: "deleted: {} has it",
    Safety.NOWHERE: "deleted, kept as {}",
}
"""What becomes of a branch."""


@dataclass(frozen=True)
class Verdict:
    """What is to be done about a task."""

    ref: str
    kept: str = ""  # why it must stay; "" where it may go
    safety: Safety = Safety.NONE
    branch: str = ""  # what becomes of its branch, in words

    @property
    def needs_rescue(self) -> bool:
        """Whether its commits are to be saved before its branch goes."""
        return not self.kept and self.safety is Safety.NOWHERE


def judge_task(ref: str, paths: TaskPaths, order: WorkspaceOrder | None, *, rescue: bool, dry: bool) -> Verdict:
    """Whether a finished task may go. `rescue`: commits that are nowhere else may be saved under a ref of their own."""
    outputs = _outputs(paths)
    if outputs:
        return Verdict(ref, f"{outputs[0]} holds {len(outputs)} file(s) or more of its agent's")
    aside = sorted(paths.folder.glob("git.*-[0-9]*"))
    if aside:
        return Verdict(ref, f"a git folder of its agent's was set aside, and may hold work: {aside[0]}")
    if order is None or not Path(order.git_common_dir).exists():
        return Verdict(ref)
    return _judge_work(ref, paths, order, rescue=rescue, dry=dry)


def _judge_work(ref: str, paths: TaskPaths, order: WorkspaceOrder, *, rescue: bool, dry: bool) -> Verdict:
    owner = read_owner(order)
    if owner is not None and owner.attached_tip is not None:
        if not owner.detached:
            return Verdict(ref, "the agent's git folder is still in place; `haikud doctor --repair` sees to it")
        if not dry:
            harvest(order)
    if owner is not None and is_there(Path(order.worktree)):
        words = uncommitted_words(find_leftovers(order, copied_files(paths)))
        if words:
            return Verdict(ref, f"{order.worktree} holds uncommitted work: {words}")
    elsewhere = commits_elsewhere(order)
    if elsewhere:
        return Verdict(ref, elsewhere[0])
    if owner is None:
        return Verdict(ref)  # it never got so far, or an earlier prune was here
    safety = safety_of(order)
    if safety is Safety.NOWHERE and not rescue:
        return Verdict(ref, unsaved_words(order), safety)
    return Verdict(ref, "", safety, f"{order.branch} {_BRANCH[safety].format(rescue_ref(ref))}")


def copied_files(paths: TaskPaths) -> list[str]:
    """What was copied into the worktree, such as `.env`, by the task's answer: no work of the agent's."""
    names = evidence_of(paths.response).get("excluded_files")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _outputs(paths: TaskPaths) -> list[str]:
    """What an agent without a worktree wrote into the folder that it was given; three at most."""
    found: list[str] = []
    left = [str(folder) for folder in paths.folder.glob("attempt-*/out/workspace") if not folder.is_symlink()]
    while left and len(found) < 3:
        with suppress(OSError), os.scandir(left.pop()) as entries:  # deeper than any path: nobody's work
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    found.append(as_text(os.fsencode(entry.path)))
    return found[:3]
