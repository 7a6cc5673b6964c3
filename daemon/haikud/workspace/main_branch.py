"""Moving the branch that finished work is merged into: to a commit that is built and tested, in one step.

Where no checkout has the branch out it is a compare-and-swap of the ref; where one has, `git merge --ff-only` in that
checkout, which must be clean. `check_can_move` asks everything beforehand and changes nothing, so that several
repositories can all be asked before the first is moved; it is asked again under the lock by `move_branch`.

What a move that was cut short has already written into the checkout is no obstacle to the same move: files that are,
in the index and on the disk, what the result has. Fails with `CannotMove`, which says why and what to do.
"""

from __future__ import annotations

import os
from pathlib import Path

from haikud.workspace.durability import sync_filesystem
from haikud.workspace.files import is_there
from haikud.workspace.git import WRITE_SECONDS, Git, GitError, WorkspaceError, as_text
from haikud.workspace.repository import resolve
from haikud.workspace.repository_lock import repository_lock

_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "BISECT_LOG": "a bisection",
}


class CannotMove(WorkspaceError):  # noqa: N818 - says what is the case
    """The branch may not be moved now; nothing was changed. `advice` says what to do."""

    code = "CANNOT_MOVE"

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


def checkouts_of(git_common_dir: str | Path, branch: str) -> list[Path]:
    """The checkouts that have the branch out: the main one, linked ones."""
    found = []
    for record in Git(git_common_dir).ask("worktree", "list", "--porcelain", "-z").stdout.split(b"\0\0"):
        lines = record.split(b"\0")
        if f"branch refs/heads/{branch}".encode() in lines and lines[0].startswith(b"worktree "):
            found.append(Path(os.fsdecode(lines[0][9:])))
    return [path for path in found if path.is_dir()]


def check_can_move(git_common_dir: str | Path, branch: str, onto: str, result: str) -> Path | None:
    """The checkout that has the branch out and can take the result; None where none has. Raises CannotMove."""
    head = resolve(Git(git_common_dir), f"refs/heads/{branch}")
    if head != onto:
        raise CannotMove(
            f"{branch} has moved from {onto[:12]} to {(head or 'nothing')[:12]} meanwhile", "run haikud merge again"
        )
    _refuse_rebase(Path(git_common_dir), branch)
    checkouts = checkouts_of(git_common_dir, branch)
    if len(checkouts) > 1:
        places = ", ".join(map(str, checkouts))
        raise CannotMove(f"{branch} is checked out in several places: {places}", "leave it in one of them")
    if not checkouts:
        return None
    _check_checkout(checkouts[0], onto, result)
    return checkouts[0]


def move_branch(git_common_dir: str | Path, branch: str, onto: str, result: str, why: str) -> Path | None:
    """Move the branch from `onto` to `result`, durably; the checkout that moved with it. Raises CannotMove."""
    with repository_lock(git_common_dir):
        checkout = check_can_move(git_common_dir, branch, onto, result)
        sync_filesystem(git_common_dir)  # the result's objects, before a name rests on them
        if checkout is None:
            try:
                Git(git_common_dir).run("update-ref", "-m", why, f"refs/heads/{branch}", result, onto)
            except GitError as error:
                raise CannotMove(f"git did not move {branch}: {error}", "run haikud merge again") from error
        else:
            _fast_forward(checkout, branch, result, why)
            sync_filesystem(checkout)
        sync_filesystem(git_common_dir)
    return checkout


def _fast_forward(checkout: Path, branch: str, result: str, why: str) -> None:
    git = _git_in(checkout)
    options = ("--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-overwrite-ignore", "--no-verify-signatures")
    try:
        git.ask("merge", *options, result, timeout=WRITE_SECONDS, env={"GIT_REFLOG_ACTION": why})
    except GitError as error:
        said = error.stderr.strip() or str(error)
        raise CannotMove(f"git cannot take {branch} forward in {checkout}: {said}", "run haikud merge again") from error


def _git_in(checkout: Path) -> Git:
    return Git(Git(None, cwd=str(checkout)).line("rev-parse", "--absolute-git-dir"), checkout)


def _refuse_rebase(common: Path, branch: str) -> None:
    """A branch that is being rebased is checked out nowhere, and is moved when the rebase ends."""
    linked = sorted((common / "worktrees").iterdir()) if (common / "worktrees").is_dir() else []
    for folder in [common, *linked]:
        for name in ("rebase-merge", "rebase-apply"):
            try:
                text = (folder / name / "head-name").read_bytes()
            except OSError:
                continue
            if text.strip() == f"refs/heads/{branch}".encode():
                raise CannotMove(f"a rebase of {branch} is under way ({folder / name})", "finish or abort it")


def _check_checkout(checkout: Path, onto: str, result: str) -> None:
    git = _git_in(checkout)
    entry = Path(str(git.git_dir))
    for name, what in _UNDER_WAY.items():
        if is_there(entry / name):
            raise CannotMove(f"{what} is under way in {checkout}", "finish or abort it")
    if is_there(entry / "index.lock"):
        raise CannotMove(
            f"git is at work in {checkout}, or died there: {entry / 'index.lock'} is there",
            "wait for it; if no git runs there, remove that file",
        )
    _refuse_changes(git, checkout, result)
    _refuse_untracked(git, checkout, onto, result)


def _refuse_changes(git: Git, checkout: Path, result: str) -> None:
    """Tracked files that differ from the checkout's commit, and from the result too."""
    status = git.names("status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all")
    changed = {line[3:] for line in status}
    if not changed:
        return
    other = {*git.names("diff-index", "--cached", "-z", "--name-only", "--no-renames", result)}
    other |= {*git.names("diff-files", "-z", "--name-only")}
    mine = sorted(as_text(path) for path in changed & other)
    if mine:
        more = f" and {len(mine) - 5} more" if len(mine) > 5 else ""
        raise CannotMove(
            f"{checkout} has changes that are not committed: {', '.join(mine[:5])}{more}",
            "commit or stash them, then run haikud merge again",
        )


def _refuse_untracked(git: Git, checkout: Path, onto: str, result: str) -> None:
    added = git.names("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", onto, result)
    present = [path for path in added if os.path.lexists(checkout / os.fsdecode(path))]
    if present:
        tracked = {*git.names("ls-files", "-z")}
        present = [path for path in present if path not in tracked]
    if present:
        raise CannotMove(
            f"{checkout} has untracked files where the merge brings its own: {', '.join(map(as_text, present[:5]))}",
            "move them away, then run haikud merge again",
        )
