"""Checks before each write: folder, branch and real path are what the order says.

Git's own entry of a worktree (`COMMON/worktrees/NAME`) is found from the repository's side; the worktree's `.git`,
which an agent can write, is only ever compared. Fails with `WorkspaceMismatch`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace.files import is_folder, is_there, read_small
from haikud.workspace.git import Git, WorkspaceError
from haikud.workspace.refs import head_branch


class WorkspaceMismatch(WorkspaceError):  # noqa: N818 - says what is the case
    """The worktree is not what the task says; nothing was written."""

    code = "WORKSPACE_MISMATCH"


def find_entry(git_common_dir: str | Path, worktree: str | Path) -> Path | None:
    """Git's entry of the worktree at this path, or None where git knows no such worktree."""
    wanted = {os.path.normpath(worktree), os.path.realpath(worktree)}
    for entry, folder in known_worktrees(git_common_dir, first=Path(worktree).name):
        if os.path.normpath(folder) in wanted:
            return entry
    return None


def known_worktrees(git_common_dir: str | Path, first: str = "") -> Iterator[tuple[Path, str]]:
    """Each of git's entries and the folder it stands for; the one named `first` before the others."""
    folder = Path(git_common_dir) / "worktrees"
    if first and (place := _place_of(folder / first)):  # mostly it is this one: the others are not even listed
        yield folder / first, place
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name != first and (place := _place_of(entry)):
            yield entry, place


def _place_of(entry: Path) -> str:
    """The folder that an entry of git's stands for; empty where it names none."""
    text = read_small(entry / "gitdir")
    if not text:
        return ""
    path = os.path.join(entry, os.fsdecode(text).rstrip("\n"))  # noqa: PTH118 - may be relative
    return os.path.dirname(path)  # noqa: PTH120


def git_file_text(entry: Path) -> bytes:
    """What the `.git` of the worktree of this entry holds."""
    return b"gitdir: " + os.fsencode(entry) + b"\n"


def names_folder(git_file: Path, folder: Path) -> bool:
    """Whether this `.git` is a plain file that names the folder."""
    text = read_small(git_file)
    if text is None or not text.startswith(b"gitdir: "):
        return False
    if text == git_file_text(folder):
        return True
    named = os.path.join(git_file.parent, os.fsdecode(text[8:]).rstrip("\r\n"))  # noqa: PTH118 - may be relative
    return os.path.realpath(named) == os.path.realpath(folder)


def check_place(order: WorkspaceOrder, owner: Owner) -> Path:
    """The worktree's folder, a real one where the record says it is."""
    worktree = Path(order.worktree)
    if not is_folder(worktree):
        what = "is not a folder" if is_there(worktree) else "is gone"
        raise WorkspaceMismatch(f"the worktree {worktree} {what}")
    if os.path.realpath(worktree) != owner.real_worktree:
        raise WorkspaceMismatch(
            f"the worktree {worktree} is now {os.path.realpath(worktree)}, it was made as {owner.real_worktree}"
        )
    return worktree


def check_worktree(order: WorkspaceOrder, owner: Owner) -> Git:
    """Git in the worktree, after all checks. The agent's own git folder must not be in place."""
    if owner.attached_tip is not None and not owner.detached:
        raise WorkspaceMismatch(f"the agent's own git folder is still in place in {order.worktree}; harvest it first")
    worktree = check_place(order, owner)
    entry = expect_entry(order)
    if not names_folder(worktree / ".git", entry):
        raise WorkspaceMismatch(
            f"{worktree}/.git does not name {entry}; put back what `git worktree add` wrote there: "
            f"{git_file_text(entry).decode(errors='replace').strip()}"
        )
    git = Git(entry, worktree)
    head = head_branch(entry)
    if head != f"refs/heads/{order.branch}":
        raise WorkspaceMismatch(f"the worktree {worktree} is on {head or 'no branch'}, not on {order.branch}")
    return git


def expect_entry(order: WorkspaceOrder) -> Path:
    """Git's entry of the order's worktree, which must be there."""
    entry = find_entry(order.git_common_dir, order.worktree)
    if entry is None:
        raise WorkspaceMismatch(f"git does not know the worktree {order.worktree}; see `git worktree repair`")
    return entry


def clear_stale_lock(path: Path, patience: float = 1.0) -> None:
    """Remove a lock file that a killed git left; one that someone is using goes away by itself within `patience` s.

    Only for files that no one but the task's own runner writes, under the repository's lock.
    """
    give_up_at = time.monotonic() + patience
    while is_there(path):
        if time.monotonic() >= give_up_at:
            path.unlink(missing_ok=True)
            return
        time.sleep(0.02)


def clear_entry_locks(entry: Path) -> None:
    """The same for all locks in git's entry of a worktree: the index's, HEAD's, ORIG_HEAD's."""
    for lock in entry.glob("*.lock"):
        clear_stale_lock(lock)


def clear_branch_lock(order: WorkspaceOrder) -> None:
    """The same for the lock of the order's branch."""
    clear_stale_lock(Path(order.git_common_dir) / "refs" / "heads" / f"{order.branch}.lock")
