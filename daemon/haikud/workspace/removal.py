"""Listing the worktrees of haikud, and removing one whose work is safe elsewhere.

Work is safe when it is merged into the main branch, pushed, or saved under `refs/haikud/rescue/REF`, and nothing is
uncommitted. Anything else is refused with `WorkInDanger`, which says what would be lost; haikud has no way to insist.
A removal that was cut short anywhere is finished by the same call again: the folder leaves under a hidden name in one
step, the record of ownership goes last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import find_entry
from haikud.workspace.commits import Leftovers, find_leftovers
from haikud.workspace.durability import sync_ref
from haikud.workspace.files import is_there, remove_entry, sync_folder
from haikud.workspace.git import Git, WorkspaceError, as_text
from haikud.workspace.ownership import all_owners, expect_owner, give_up_ownership, read_owner, ref_of
from haikud.workspace.private_git import harvest
from haikud.workspace.repository import current_head, resolve
from haikud.workspace.repository_lock import repository_lock


class WorkInDanger(WorkspaceError):  # noqa: N818 - says what is the case
    """The worktree or its branch holds work that is nowhere else; nothing was removed."""

    code = "WORK_IN_DANGER"


@dataclass(frozen=True)
class WorktreeFacts:
    """One worktree of haikud's, as `list_worktrees` tells it."""

    ref: str
    branch: str
    worktree: str
    spool_id: str
    start_sha: str
    head_sha: str | None  # None: the branch is gone
    present: bool  # the folder is there
    at_work: bool  # an attempt's git folder is in place


class Safety(StrEnum):
    """Where the commits of a task's branch are, beside the branch."""

    NONE = "none"  # there is no branch, or it has no commit of its own
    MERGED = "merged"  # in the main branch
    PUSHED = "pushed"  # in a remote-tracking branch
    RESCUED = "rescued"  # under refs/haikud/rescue/REF
    NOWHERE = "nowhere"


def rescue_ref(ref: str) -> str:
    """The ref under which a task's commits are kept when its branch goes."""
    return f"refs/haikud/rescue/{ref}"


def safety_of(order: WorkspaceOrder) -> Safety:
    """Where else the branch's commits are. Reads only."""
    tip = current_head(order.git_common_dir, order.branch)
    if tip is None:
        return Safety.NONE
    owner = read_owner(order)
    return _safety(order, tip, owner.start_sha if owner is not None else order.base_sha)


def save_rescue(order: WorkspaceOrder) -> str | None:
    """Keep the branch's head under its rescue ref, durably as git does it; the ref, None where there is no branch."""
    tip = current_head(order.git_common_dir, order.branch)
    return save_commit(order, tip) if tip is not None else None


def save_commit(order: WorkspaceOrder, sha: str) -> str | None:
    """Keep a commit from git's clearing away; the ref it got, None where it is not there any more.

    An earlier rescue of other commits is never replaced: then the ref is REF-SHA.
    """
    git = Git(order.git_common_dir)
    if resolve(git, sha) is None:
        return None
    with repository_lock(order.git_common_dir):
        name = rescue_ref(ref_of(order))
        earlier = resolve(git, name)
        if earlier is not None and not git.holds("merge-base", "--is-ancestor", earlier, sha):
            name = f"{name}-{sha[:12]}"
        git.run("update-ref", "-m", "haikud: rescued", name, sha)
        sync_ref(order.git_common_dir, name)
    return name


def forget_missing_worktree(order: WorkspaceOrder) -> bool:
    """Take a worktree whose folder is gone off git's list, as `git worktree prune` does; whether it was there."""
    with repository_lock(order.git_common_dir):
        entry = find_entry(order.git_common_dir, order.worktree)
        if entry is None or is_there(Path(order.worktree)):
            return False
        _remove_git_entry(entry)
    return True


def list_worktrees(git_common_dir: str | Path) -> list[WorktreeFacts]:
    """All worktrees that haikud made in a repository, of every spool, by ref."""
    return [
        WorktreeFacts(
            ref=owner.ref,
            branch=owner.branch,
            worktree=owner.worktree,
            spool_id=owner.spool_id,
            start_sha=owner.start_sha,
            head_sha=current_head(git_common_dir, owner.branch),
            present=Path(owner.worktree).is_dir(),
            at_work=owner.attached_tip is not None and not owner.detached,
        )
        for owner in all_owners(git_common_dir)
        if "/" not in owner.ref  # a merge's place is no task's worktree
    ]


def remove_worktree(order: WorkspaceOrder, copied: Iterable[str] = (), *, keep_branch: bool = False) -> None:
    """Remove the worktree, its branch and the record of ownership; `copied` files and ignored ones go with it.

    Raises WorkInDanger. A folder that is gone already is fine.
    """
    owner = expect_owner(order)
    if owner.attached_tip is not None:
        if not owner.detached:
            raise WorkInDanger(f"an attempt is at work in {order.worktree}, or its end was not seen to yet")
        harvest(order)
    if is_there(Path(order.worktree)):
        _refuse_uncommitted(order, copied)
    with repository_lock(order.git_common_dir):
        tip = current_head(order.git_common_dir, order.branch)
        if tip is not None and not keep_branch and _safety(order, tip, owner.start_sha) is Safety.NOWHERE:
            raise WorkInDanger(unsaved_words(order))
        _remove_folder_and_entry(order)
        if tip is not None and not keep_branch:
            Git(order.git_common_dir).run("update-ref", "-d", f"refs/heads/{order.branch}", tip)
        give_up_ownership(order)


def _refuse_uncommitted(order: WorkspaceOrder, copied: Iterable[str]) -> None:
    words = uncommitted_words(find_leftovers(order, copied))
    if words:
        raise WorkInDanger(f"{order.worktree} holds uncommitted work: {words}")


def uncommitted_words(left: Leftovers) -> str:
    """The first few paths that are not committed, nested repositories among them; "" where there are none."""
    paths = [as_text(path) for path in (*left.changed, *left.removed)] + left.nested
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"{', '.join(paths[:5])}{more}"


def unsaved_words(order: WorkspaceOrder) -> str:
    """How much of a branch, which is there, is nowhere else."""
    git = Git(order.git_common_dir)
    main = resolve(git, f"refs/heads/{order.main_branch}")
    safe = [sha for sha in (main, expect_owner(order).start_sha) if sha is not None]
    count = git.line("rev-list", "--count", f"refs/heads/{order.branch}", "--not", *safe)
    return f"{order.branch} has {count} commit(s) that are neither merged into {order.main_branch} nor pushed"


def _safety(order: WorkspaceOrder, tip: str, start: str) -> Safety:
    git = Git(order.git_common_dir)
    if git.holds("merge-base", "--is-ancestor", tip, start):
        return Safety.NONE
    main = resolve(git, f"refs/heads/{order.main_branch}")
    if main is not None and git.holds("merge-base", "--is-ancestor", tip, main):
        return Safety.MERGED
    if git.run("for-each-ref", "--count=1", f"--contains={tip}", "refs/remotes").strip():
        return Safety.PUSHED
    if git.run("for-each-ref", "--count=1", f"--contains={tip}", "refs/haikud/rescue").strip():
        return Safety.RESCUED
    return Safety.NOWHERE


def _remove_folder_and_entry(order: WorkspaceOrder) -> None:
    # Not `git worktree remove`: it enters submodules, whose settings an agent may have written.
    # In one step, so that what a crash leaves is never taken for a worktree in which files were deleted.
    worktree = Path(order.worktree)
    leaving = worktree.with_name(f".{worktree.name}.leaving")
    remove_entry(leaving)  # of a removal that was cut short
    entry = find_entry(order.git_common_dir, worktree)
    if entry is None:
        return
    if is_there(worktree):
        worktree.rename(leaving)
        sync_folder(worktree.parent)
        remove_entry(leaving)
    _remove_git_entry(entry)


def _remove_git_entry(entry: Path) -> None:
    """Git's entry of a worktree, by whose `gitdir` it is found: that goes last."""
    for path in sorted(entry.iterdir()):
        if path.name != "gitdir":
            remove_entry(path)
    remove_entry(entry)
