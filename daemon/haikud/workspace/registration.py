"""A new worktree made known to git: git's entry of it, and then its files and its branch.

`git worktree add` starts three processes for what are four small files, whose meaning gitrepository-layout(5) fixes.
Where a repository's worktrees are just those (`RepositorySettings.has_plain_worktrees`) they are written here, in git's
own order: `locked` first, so that nobody's `git worktree prune` takes the half of it for a leftover; `gitdir` last, so
that what a crash leaves is known to be begun and not finished. Call it under the repository's lock, but for `fill`.
Nothing is durable yet: `sync_worktree` comes afterwards. Fails with `GitError` and OSError.
"""

from __future__ import annotations

import os
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import clear_entry_locks, git_file_text
from haikud.workspace.git import Asked, Git

UNSYNCED = ("core.fsync=none",)
"""For calls that a flush of the whole filesystem follows before anything rests on them."""

_LOCKED_WHY = b"haikud is making this worktree\n"


def new_entry(order: WorkspaceOrder) -> Path:
    """Where git's entry of a new worktree lies when the name is free."""
    return Path(order.git_common_dir) / "worktrees" / Path(order.worktree).name


def add_entry(order: WorkspaceOrder) -> Path:
    """The empty worktree, on a branch that `fill` will make, and git's entry of it, which must not be there yet."""
    entry, worktree = new_entry(order), Path(order.worktree)
    worktree.mkdir(parents=True, exist_ok=True)
    entry.parent.mkdir(exist_ok=True)
    entry.mkdir()
    (entry / "locked").write_bytes(_LOCKED_WHY)
    (worktree / ".git").write_bytes(git_file_text(entry))
    (entry / "HEAD").write_bytes(os.fsencode(f"ref: refs/heads/{order.branch}\n"))
    (entry / "commondir").write_bytes(b"../..\n")
    (entry / "gitdir").write_bytes(os.fsencode(os.path.realpath(worktree)) + b"/.git\n")
    (entry / "locked").unlink()
    return entry


def fill(entry: Path, order: WorkspaceOrder, sha: str, *, new_branch: bool) -> Asked:
    """Check the commit out into the worktree, begun: `finish` it with WRITE_SECONDS.

    `new_branch`: the task's branch is made by the same process, and must not be there yet: GitError where it is. It can
    take long, and touches nothing that others write: no lock but git's own.
    """
    clear_entry_locks(entry)
    what = ["read-tree", "--reset", "-u", sha]
    if new_branch:
        what = ["checkout", "--quiet", "--force", "--no-track", "-b", order.branch, sha, "--"]
    return Git(entry, order.worktree).begin(*what, settings=UNSYNCED)
