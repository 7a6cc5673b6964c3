"""Listing the worktrees of haikud, and removing one whose work is safe elsewhere.

Work is safe when it is merged into the main branch or pushed, and nothing is uncommitted. Anything else is refused
with `WorkInDanger`, which says what would be lost; haikud has no way to insist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import find_entry
from haikud.workspace.commits import find_leftovers
from haikud.workspace.files import is_there, remove_entry
from haikud.workspace.git import Git, WorkspaceError, as_text
from haikud.workspace.ownership import all_owners, expect_owner, give_up_ownership
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
        if tip is not None and not keep_branch:
            _refuse_unsaved(order, tip, owner.start_sha)
        if find_entry(order.git_common_dir, order.worktree) is not None:
            _remove_folder_and_entry(order)
        if tip is not None and not keep_branch:
            Git(order.git_common_dir).run("update-ref", "-d", f"refs/heads/{order.branch}", tip)
        give_up_ownership(order)


def _refuse_uncommitted(order: WorkspaceOrder, copied: Iterable[str]) -> None:
    left = find_leftovers(order, copied)
    paths = [as_text(path) for path in (*left.changed, *left.removed)] + left.nested
    if paths:
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        raise WorkInDanger(f"{order.worktree} holds uncommitted work: {', '.join(paths[:5])}{more}")


def _refuse_unsaved(order: WorkspaceOrder, tip: str, start: str) -> None:
    git = Git(order.git_common_dir)
    main = resolve(git, f"refs/heads/{order.main_branch}")
    safe = [sha for sha in (main, start) if sha is not None]
    if any(git.holds("merge-base", "--is-ancestor", tip, sha) for sha in safe):
        return
    if git.run("for-each-ref", "--count=1", f"--contains={tip}", "refs/remotes").strip():
        return
    count = git.line("rev-list", "--count", tip, "--not", *safe)
    raise WorkInDanger(
        f"{order.branch} has {count} commit(s) that are neither merged into {order.main_branch} nor pushed"
    )


def _remove_folder_and_entry(order: WorkspaceOrder) -> None:
    # Not `git worktree remove`: it enters submodules, whose settings an agent may have written.
    remove_entry(Path(order.worktree))
    entry = find_entry(order.git_common_dir, order.worktree)
    if entry is not None:
        remove_entry(entry)
