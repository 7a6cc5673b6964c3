"""The repositories: whose the branches and worktrees are, what was left in them, and whether finished work is there.

Asks git and writes nothing, except that a lock file is looked at twice: one that git is using goes away by itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.ids import split_ref
from haikud.contracts.owner import Owner
from haikud.contracts.states import TaskState
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.engine.upkeep.look import Locks, Look, SeenTask, evidence_of
from haikud.engine.upkeep.process_check import is_quiet
from haikud.workspace.checks import find_entry, names_folder
from haikud.workspace.files import is_there
from haikud.workspace.git import Git, WorkspaceError
from haikud.workspace.merge_place import is_merge_record, lock_path, plan_of_merge
from haikud.workspace.ownership import load_record, owners_folder
from haikud.workspace.removal import rescue_ref
from haikud.workspace.repository import resolve

LOCK_PATIENCE_SECONDS = 0.3

_TEMPORARY_RECORD = re.compile(r"\..+\.json\.[0-9]+-[0-9a-f]{8}|\.owners\..+\.haikud-new")


@dataclass(frozen=True)
class Repository:
    """A repository that plans of this spool work in."""

    common: Path
    heads: dict[str, str]  # branch -> commit
    tasks: dict[str, tuple[SeenTask, WorkspaceOrder]]  # ref -> the task


def check_repositories(look: Look) -> Iterator[Finding]:
    """All of them."""
    by_place: dict[str, dict[str, tuple[SeenTask, WorkspaceOrder]]] = {}
    for seen in look.plans.values():
        for one in seen.tasks:
            order = build_workspace(seen.plan, one.task, look.layout.task(one.task.ref), look.spool_id or "")
            if order is not None:
                by_place.setdefault(order.git_common_dir, {})[one.task.ref] = (one, order)
    for place, tasks in by_place.items():
        common = Path(place)
        try:
            lines = Git(common).run("for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/heads")
        except WorkspaceError as error:
            why = f"the repository of {len(tasks)} task(s) cannot be read: {error}"
            cure = "put it back where it was; what is finished can be pruned once it is there"
            yield note(Code.REPOSITORY_GONE, why, common, cure=cure)
            continue
        heads = {name: sha for sha, _, name in (line.partition(" ") for line in lines.splitlines())}
        repository = Repository(common, heads, tasks)
        yield from _records(look, repository)
        yield from _temporaries(repository)
        for one, order in tasks.values():
            yield from _work(look, repository, one, order)


def _records(look: Look, repository: Repository) -> Iterator[Finding]:
    for path in sorted(owners_folder(repository.common).glob("[!.]*.json")):
        try:
            owner = load_record(path)
        except WorkspaceError as error:
            yield fault(Code.OWNER_UNREADABLE, str(error), path, cure="put it back from a copy, or remove it")
            continue
        if owner is None or owner.spool_id != look.spool_id:
            continue
        if is_merge_record(owner):
            yield from _merge(repository, owner, path)
            continue
        known = repository.tasks.get(owner.ref)
        if known is None:
            if split_ref(owner.ref)[0] not in look.unreadable:
                why = f"the worktree {owner.worktree} is this spool's and of none of its tasks"
                cure = "made by an operation (create_worktree); remove_worktree removes it"
                yield note(Code.OWNER_WITHOUT_TASK, why, path, owner.ref, cure)
            continue
        yield from _worktree(look, repository, owner, *known)


def _merge(repository: Repository, owner: Owner, path: Path) -> Iterator[Finding]:
    """The place of a merge that nobody is at."""
    try:
        at_work = Locks().hold(lock_path(repository.common).stat())
    except FileNotFoundError:
        at_work = False
    if not at_work:
        plan_id = plan_of_merge(owner)
        why = f"a `haikud merge {plan_id}` was killed; {owner.worktree} is what it left"
        yield note(Code.MERGE_LEFT, why, path, plan_id, "the next merge there removes it, and so does --repair")


def _worktree(
    look: Look, repository: Repository, owner: Owner, task: SeenTask, order: WorkspaceOrder
) -> Iterator[Finding]:
    if not is_quiet(look, task):
        return
    ref, folder = owner.ref, Path(owner.worktree)
    entry = find_entry(repository.common, owner.worktree)
    if not is_there(folder):
        if entry is not None:
            why = f"git still lists the worktree {folder}, whose folder is gone"
            yield note(Code.WORKTREE_GONE, why, entry, ref, "--repair takes it off git's list; the branch stays")
        return
    attached = (owner.attached_tip is not None and not owner.detached) or names_folder(
        folder / ".git", Path(order.private_git)
    )
    if attached:
        why = f"the agent's git folder is still in place in {folder}, though no attempt is at work"
        if task.is_final:
            cure = "--repair takes its commits home and puts the repository's own back"
            yield fault(Code.GIT_LEFT_ATTACHED, why, folder / ".git", ref, cure)
        else:
            cure = "its next attempt sees to it, and so does --repair"
            yield note(Code.GIT_LEFT_ATTACHED, why, folder / ".git", ref, cure)
    locks = [repository.common / "refs" / "heads" / f"{owner.branch}.lock"]
    locks += [entry / "index.lock", entry / "HEAD.lock"] if entry is not None else []
    for lock in locks:
        if _stays(lock):
            why = "a lock of git's that nobody holds any more"
            yield note(Code.GIT_LOCK_LEFT, why, lock, ref, "the next attempt removes it, and so does --repair")


def _stays(path: Path) -> bool:
    until = time.monotonic() + LOCK_PATIENCE_SECONDS
    while is_there(path):
        if time.monotonic() >= until:
            return True
        time.sleep(0.02)
    return False


def _temporaries(repository: Repository) -> Iterator[Finding]:
    """Durable writes of the workspace that were cut short, beside the records and beside the worktrees."""
    folders = {Path(order.worktree).parent for _, order in repository.tasks.values()}
    quiet = not any(one.running is not None for one, _ in repository.tasks.values())
    found = list(owners_folder(repository.common).glob(".*"))
    found += [path for folder in folders for path in folder.glob(".*.git.haikud-new")]
    for path in found if quiet else []:
        if path.name.endswith(".haikud-new") or _TEMPORARY_RECORD.fullmatch(path.name):
            why = "a write that was cut short; nobody reads it"
            yield note(Code.GIT_TEMPORARY_LEFT, why, path, cure="`haikud doctor --repair` removes it")


def _work(look: Look, repository: Repository, task: SeenTask, order: WorkspaceOrder) -> Iterator[Finding]:
    """Whether the commit that a success names is there, and on its branch."""
    ref = task.task.ref
    measured = measured_head(look, task)
    head = repository.heads.get(order.branch)
    if measured is None or head == measured:
        return
    git = Git(repository.common)
    place = repository.common / "refs" / "heads" / order.branch
    if resolve(git, measured) is None:
        why = f"the commit {measured[:12]} of its answer is not in the repository any more"
        yield note(Code.BRANCH_GONE, why, place, ref, "its branch was deleted, or rewritten, and git cleared it away")
    elif head is not None and git.holds("merge-base", "--is-ancestor", measured, head):
        return  # someone has gone on from there
    elif not git.run("for-each-ref", "--count=1", f"--contains={measured}").strip():
        why = f"the commit {measured[:12]} of its answer is in no branch: git will clear it away"
        cure = f"--repair keeps it as {rescue_ref(ref)}; if nobody wants it, prune the plan"
        yield fault(Code.WORK_UNREACHABLE, why, place, ref, cure)
    elif head is not None:
        why = f"{order.branch} no longer contains the commit {measured[:12]} of its answer; another ref does"
        yield note(Code.BRANCH_GONE, why, place, ref, "nothing to do")


def measured_head(look: Look, task: SeenTask) -> str | None:
    """The commit that the answer of a success names; None where there is no such answer."""
    if task.last is None or task.last.state is not TaskState.SUCCEEDED:
        return None
    sha = evidence_of(look.layout.task(task.task.ref).response).get("head_sha")
    return sha if isinstance(sha, str) and re.fullmatch(r"[0-9a-f]{40,64}", sha) else None
