"""One worktree and branch per task: made, healed, listed, removed.

`prepare_worktree` may be called again after a crash at any point and continues what it finds, if it is ours by the
ownership record. What it never does: use a branch or folder that was there before, or delete a file that is not in
git. Fails with `BranchTaken`, `WorkspaceMismatch`, `WorkInDanger` or `GitError`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace.checks import (
    WorkspaceMismatch,
    check_place,
    check_worktree,
    clear_branch_lock,
    expect_entry,
    find_entry,
)
from haikud.workspace.durability import drop_broken_branch, is_broken_entry, sync_worktree
from haikud.workspace.files import is_folder, is_there, move_aside, remove_entry
from haikud.workspace.git import WRITE_SECONDS, Git, GitError, WorkspaceError
from haikud.workspace.ownership import (
    BranchTaken,
    branch_name,
    give_up_ownership,
    load_record,
    read_owner,
    record_path,
    ref_of,
    take_ownership,
    update_owner,
)
from haikud.workspace.private_folder import lay
from haikud.workspace.private_git import BegunWorktree, harvest
from haikud.workspace.refs import find_ref
from haikud.workspace.registration import add_entry, fill, new_entry
from haikud.workspace.removal import WorkInDanger, WorktreeFacts, list_worktrees, remove_worktree
from haikud.workspace.repository_lock import repository_lock
from haikud.workspace.repository_settings import RepositorySettings, read_settings
from haikud.workspace.vacancy import find_obstacles

__all__ = [
    "BranchTaken",
    "PreparedWorktree",
    "WorkInDanger",
    "WorkspaceError",
    "WorkspaceMismatch",
    "WorktreeFacts",
    "branch_name",
    "finish_worktree",
    "list_worktrees",
    "prepare_worktree",
    "remove_worktree",
    "worktree_path",
]


@dataclass(frozen=True)
class PreparedWorktree:
    """A worktree in which an attempt can start."""

    start_sha: str  # what evidence counts from
    created: bool  # this call made the folder: files must be copied in and the setup command run
    branch_tip: str
    warnings: list[str] = field(default_factory=list)  # of a harvest that had to come first
    begun: BegunWorktree | None = None  # where it was left open: for `attach_private_git` or `finish_worktree`


def worktree_path(repo_top: str | Path, ref: str, worktree_root: str | Path | None = None) -> Path:
    """Where the worktree of a task lies: REPO/worktrees/REF, or ROOT/NAME-HASH/REF under a `worktree_root`.

    A bare repository keeps its own lists in `worktrees/`; there it is REPO/haikud/worktrees/REF.
    """
    top = Path(repo_top)
    if worktree_root is not None:
        digest = hashlib.sha256(os.fsencode(top)).hexdigest()[:8]
        return Path(worktree_root).absolute() / f"{top.name}-{digest}" / ref
    if not is_there(top / ".git") and (top / "objects").is_dir() and (top / "HEAD").is_file():
        return top / "haikud" / "worktrees" / ref
    return top / "worktrees" / ref


def prepare_worktree(
    order: WorkspaceOrder, settings: Callable[[], RepositorySettings] | None = None, *, leave_open: bool = False
) -> PreparedWorktree:
    """Make the task's branch and worktree, or check and continue those that an earlier attempt made.

    `settings` of the repository, where the caller is reading them; asked for when they are needed. `leave_open`:
    `attach_private_git` comes next and nothing is put into the worktree before. Then the agent's git folder is laid
    while git checks out, and the disk is waited for once, by it or by `finish_worktree`: see `begun`.
    """
    settings = settings or partial(read_settings, order.git_common_dir)
    warnings = _harvest_missing(order, settings)
    with repository_lock(order.git_common_dir):
        _drop_abandoned_record(order)
        owner = read_owner(order)
        if owner is None:
            _refuse_what_exists(order)
            owner = _new_owner(order)
            take_ownership(order, owner)
        _keep_out_of_git(order)
        clear_branch_lock(order)
        drop_broken_branch(order)
        tip = find_ref(order.git_common_dir, f"refs/heads/{order.branch}")
        if owner.stage == "ready" and is_there(Path(order.worktree)):
            if tip is None:
                tip = owner.attached_tip or owner.start_sha
                _set_branch(order, tip)
            if owner.attached_tip is None or owner.detached:
                check_worktree(order, owner)
            else:
                check_place(order, owner)  # a crash left the agent's git in place; attaching harvests it first
            return PreparedWorktree(owner.start_sha, created=False, branch_tip=tip)
        if owner.stage == "ready":  # someone removed the folder
            if tip is None and owner.attached_tip is None:  # and the branch: the task begins anew
                owner = update_owner(order, owner, **_new_owner(order).model_dump())
            owner = update_owner(order, owner, stage="creating")
        start = tip or owner.attached_tip or owner.start_sha
        entry = None if tip is not None else _register_plainly(order, start, settings())
        new_branch = entry is not None
        entry = entry or _register(order, start, has_branch=tip is not None)
    leave_open = leave_open and owner.attached_tip is None
    # The checkout can take long and touches nothing that others write: it runs outside the lock.
    with _checking_out(order, entry, start, new_branch=new_branch):
        if leave_open:
            lay(order, start, settings())
    owner = owner.model_copy(update={"real_worktree": os.path.realpath(order.worktree)})
    begun = BegunWorktree(owner, entry, start)
    if not leave_open:
        finish_worktree(order, begun)
    more = begun if leave_open else None
    return PreparedWorktree(owner.start_sha, created=True, branch_tip=start, warnings=warnings, begun=more)


def finish_worktree(order: WorkspaceOrder, begun: BegunWorktree) -> None:
    """Have the record of a worktree that was left open say that it is complete, with no agent in it."""
    sync_worktree(order)
    update_owner(order, begun.owner, stage="ready")


def _harvest_missing(order: WorkspaceOrder, settings: Callable[[], RepositorySettings]) -> list[str]:
    """Take over what an agent had committed in a folder that someone has removed; warnings.

    The files are made anew from the branch: of one that moved on afterwards they would look like its undoing.
    """
    record = load_record(record_path(order))
    if record is None or record.spool_id != order.spool_id or record.attached_tip is None:
        return []
    return [] if is_there(Path(order.worktree)) else harvest(order, settings()).warnings


def _new_owner(order: WorkspaceOrder) -> Owner:
    return Owner(
        spool_id=order.spool_id,
        ref=ref_of(order),
        branch=order.branch,
        worktree=order.worktree,
        real_worktree=os.path.realpath(order.worktree),
        start_sha=order.base_sha,
    )


def _drop_abandoned_record(order: WorkspaceOrder) -> None:
    """Another spool's record binds no longer once both its branch and its worktree are gone."""
    record = load_record(record_path(order))
    if record is None or record.spool_id == order.spool_id or is_there(Path(record.worktree)):
        return
    if find_ref(order.git_common_dir, f"refs/heads/{order.branch}") is None:
        give_up_ownership(order)


def _refuse_what_exists(order: WorkspaceOrder) -> None:
    obstacles = find_obstacles(order.git_common_dir, {ref_of(order): order.worktree}, order.spool_id)
    for obstacle in obstacles.values():
        raise BranchTaken(f"branch {order.branch} cannot be made: there is {obstacle}")


@contextmanager
def _checking_out(order: WorkspaceOrder, entry: Path, start: str, *, new_branch: bool) -> Iterator[None]:
    """The files are checked out while the body does something else."""
    checkout = fill(entry, order, start, new_branch=new_branch)
    try:
        yield
        checkout.finish(WRITE_SECONDS)
    except GitError as error:
        if new_branch and order.branch in error.stderr and "already exists" in error.stderr:
            _leave_to_others(order, start)
            raise BranchTaken(f"branch {order.branch} was made by somebody else a moment ago") from error
        raise
    finally:
        checkout.end()


def _leave_to_others(order: WorkspaceOrder, start: str) -> None:
    """The branch is another's after all. No record of ours may be left: the next call would go on with that branch."""
    with repository_lock(order.git_common_dir):
        give_up_ownership(order)
        _clear_away(order, start)


def _keep_out_of_git(order: WorkspaceOrder) -> None:
    """Name the worktrees' folder in `info/exclude`, once, where it lies inside the checkout."""
    top, parent = Path(order.repository), Path(order.worktree).parent
    common = Path(order.git_common_dir)
    if not parent.is_relative_to(top) or parent.is_relative_to(common) or parent == top:
        return
    line = f"/{parent.relative_to(top)}/".encode()
    path = common / "info" / "exclude"
    present = path.read_bytes() if path.exists() else b""
    if line in present.splitlines():
        return
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write((b"\n" if present and not present.endswith(b"\n") else b"") + line + b"\n")


def _set_branch(order: WorkspaceOrder, sha: str) -> None:
    git = Git(order.git_common_dir)
    git.run("update-ref", "-m", "haikud: made anew", f"refs/heads/{order.branch}", sha, "0" * len(sha))


def _register_plainly(order: WorkspaceOrder, start: str, settings: RepositorySettings) -> Path | None:
    """Git's entry of a worktree whose branch is to be made with its files; None where git must make the entry."""
    if not settings.has_plain_worktrees:
        return None
    _clear_away(order, start)
    return None if is_there(new_entry(order)) else add_entry(order)


def _register(order: WorkspaceOrder, start: str, *, has_branch: bool) -> Path:
    """`git worktree add` without the checkout."""
    _clear_away(order, start)
    what = [order.worktree, order.branch] if has_branch else ["--no-track", "-b", order.branch, order.worktree, start]
    try:
        git = Git(order.git_common_dir)
        git.run("worktree", "add", "--quiet", "--no-checkout", *what, timeout=WRITE_SECONDS)
    except GitError as error:
        if "already checked out" in error.stderr or "already used by worktree" in error.stderr:
            raise BranchTaken(f"branch {order.branch} is checked out elsewhere: {error.stderr}") from error
        raise
    return expect_entry(order)


def _clear_away(order: WorkspaceOrder, start: str) -> None:
    """What an earlier call left half-made."""
    _drop_entry(order)
    _clear_folder(order, start)


def _drop_entry(order: WorkspaceOrder) -> None:
    """What `git worktree prune` does, for our entry alone."""
    entry = find_entry(order.git_common_dir, order.worktree)
    if entry is None:  # or one that `git worktree add` did not get to name before a kill or a power cut
        begun = Path(order.git_common_dir) / "worktrees" / Path(order.worktree).name
        if is_broken_entry(begun):
            entry = begun
    if entry is not None:
        shutil.rmtree(entry)


def _clear_folder(order: WorkspaceOrder, start: str) -> None:
    """Clear a half checkout. It began from nothing, so its files are git's; others are kept beside it."""
    worktree = Path(order.worktree)
    if not is_there(worktree):
        return
    if not is_folder(worktree):
        raise BranchTaken(f"{worktree} is no longer the folder that haikud began; move it away")
    in_git = set(Git(order.git_common_dir).names("ls-tree", "-r", "-z", "--name-only", start))
    if _files_beneath(worktree) <= in_git:
        remove_entry(worktree)
    else:
        move_aside(worktree, worktree, ".kept-")


def _files_beneath(folder: Path) -> set[bytes]:
    root = os.fsencode(folder)
    found: set[bytes] = set()
    for here, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]  # noqa: PTH114, PTH118 - bytes
        for name in (*files, *links):
            found.add(os.path.relpath(os.path.join(here, name), root))  # noqa: PTH118 - bytes
    return found - {b".git"}
