"""The index of a worktree: what changes when anybody writes it, and putting it right.

Fails with `GitError`.
"""

from __future__ import annotations

from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import clear_entry_locks
from haikud.workspace.files import is_there, remove_entry
from haikud.workspace.git import WRITE_SECONDS, Git


def state_of(index: Path) -> str | None:
    """What changes when anybody writes an index: its inode, size and time of change, which nobody can set back."""
    try:
        facts = index.lstat()
    except OSError:
        return None
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_ctime_ns}"


def refresh_index(git: Git, order: WorkspaceOrder, *, is_ours: bool = True) -> None:
    """Make the index agree with the branch; what it knows about unchanged files is kept.

    What it does not know of the others whoever looks next finds out: that need not be a look of its own at every file.
    `is_ours`: it is as we left it. Else it is made anew: it could say of a file that nobody need look at it.
    """
    entry = Path(str(git.git_dir))
    clear_entry_locks(entry)
    branch = f"refs/heads/{order.branch}"
    read = ("read-tree", "--reset", branch)
    if not is_ours or git.ask(*read, ok=None, timeout=WRITE_SECONDS).exit_code != 0:
        remove_entry(entry / "index")  # not ours, or damaged; all that is in it can be had again
        git.run(*read, timeout=WRITE_SECONDS)
    if is_there(entry / "info" / "sparse-checkout"):
        # Only so are new entries marked that a sparse checkout has no files of: else these would look removed.
        git.run("read-tree", "-m", "-u", branch, timeout=WRITE_SECONDS)
