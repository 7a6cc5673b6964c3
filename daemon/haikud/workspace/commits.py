"""Commits that haikud makes itself: what an agent left uncommitted, and the merge of a task's dependencies.

Made of git's plumbing with the worktree's own git folder, never with the agent's: no hook runs, no submodule or
nested repository is entered, filters are those of the repository's and the user's configuration. Fails with
`WorkspaceMismatch` before anything is written, or with `MergeConflict`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import check_worktree, clear_branch_lock, clear_entry_locks
from haikud.workspace.durability import sync_branch, sync_worktree
from haikud.workspace.git import WRITE_SECONDS, Asked, Git, GitError, WorkspaceError, as_text
from haikud.workspace.ownership import expect_owner, update_owner
from haikud.workspace.repository import resolve
from haikud.workspace.repository_lock import repository_lock

HAIKUD_IDENTITY = ("haikud", "haikud@localhost")


class MergeConflict(WorkspaceError):  # noqa: N818 - says what is the case
    """A dependency's branch does not merge; the worktree is as it was before."""

    code = "MERGE_CONFLICT"

    def __init__(self, branch: str, files: list[str], others: Sequence[str] = ()) -> None:
        super().__init__(f"{branch} conflicts with the other dependencies in {', '.join(files) or 'its history'}")
        self.branch = branch
        self.files = files
        self.others = list(others)  # those merged before it


@dataclass(frozen=True)
class Leftovers:
    """What is in the worktree and not in the branch's head. Paths are bytes, relative, as git has them."""

    changed: list[bytes] = field(default_factory=list)  # new or changed files
    removed: list[bytes] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)  # repositories of their own, which are never committed

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def find_leftovers(order: WorkspaceOrder, exclude: Iterable[str] = ()) -> Leftovers:
    """What `commit_leftovers` would commit: ignored files, `exclude` and what lies beneath it are not in it."""
    return _leftovers_in(check_worktree(order, expect_owner(order)), exclude)


def commit_leftovers(
    order: WorkspaceOrder,
    message: str,
    exclude: Iterable[str] = (),
    identity: tuple[str, str] = HAIKUD_IDENTITY,
    asked: Asked | None = None,
) -> str | None:
    """Commit everything that the agent left, with `identity` (name, email); the new head, or None if there is nothing.

    Call it after `harvest`. `exclude` names files that were copied in, such as `.env`; `asked` is what `ask_leftovers`
    has begun since the agent's end.
    """
    git = check_worktree(order, expect_owner(order))
    clear_entry_locks(Path(str(git.git_dir)))
    left = _leftovers_in(git, exclude, asked)
    if not left:
        return None
    asked = git.begin("rev-parse", "HEAD^{commit}", "HEAD^{tree}")
    try:
        _stage(git, left)
        tree = git.line("write-tree")
        head, tree_of_head = asked.finish().text.split()
    finally:
        asked.end()
    with repository_lock(order.git_common_dir):
        clear_branch_lock(order)
        check_worktree(order, expect_owner(order))
        if tree == tree_of_head:
            return None
        text = message.strip() + "\n"
        ran = git.ask("commit-tree", tree, "-p", head, "-F", "-", stdin=text.encode(), env=_identity(identity))
        commit = ran.text.strip()
        git.run("update-ref", "-m", "haikud: left by the agent", f"refs/heads/{order.branch}", commit, head)
    sync_branch(order, head, left.changed)
    return commit


def merge_dependencies(
    order: WorkspaceOrder, refs: Iterable[str] | None = None, identity: tuple[str, str] = HAIKUD_IDENTITY
) -> str:
    """Merge the dependencies' branches into the fresh branch, once; the commit that evidence then counts from.

    `refs` are branch names; None means the order's own. Call it after `prepare_worktree` on every attempt: what was
    merged once is recorded and not merged again. Raises MergeConflict, then nothing of it is left.
    """
    branches = list(order.merge_refs if refs is None else refs)
    with repository_lock(order.git_common_dir):
        owner = expect_owner(order)
        if owner.merged is not None or not branches:
            return owner.start_sha
        git = check_worktree(order, owner)
        for name in branches:
            if resolve(git, f"refs/heads/{name}") is None:
                raise WorkspaceError(f"there is no branch {name} in {order.repository} to start from")
        # Nobody has worked here yet: anything beyond the start is a merge that a crash cut short.
        clear_entry_locks(Path(str(git.git_dir)))
        _back_to(git, owner.start_sha)
        for name in branches:
            _remove_checked_out(git, owner.start_sha, name)
        for number, name in enumerate(branches):
            _merge(git, order, name, owner.start_sha, identity, branches[:number])
        start = git.line("rev-parse", "HEAD")
        sync_worktree(order)
        update_owner(order, owner, start_sha=start, merged=branches)
        return start


def _back_to(git: Git, sha: str) -> None:
    git.run("reset", "--hard", "--quiet", sha, timeout=WRITE_SECONDS)


def _remove_checked_out(git: Git, start: str, name: str) -> None:
    """Remove what a merge of this branch had written when it was cut short: untracked, it stands in the way."""
    top = Path(str(git.work_tree)).resolve()
    added = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A")
    for path in git.names(*added, start, f"refs/heads/{name}"):
        file = top / os.fsdecode(path)
        if _is_file_or_link(os.fsencode(file)) and file.parent.resolve() == file.parent:  # never through a link
            file.unlink()


def _merge(
    git: Git, order: WorkspaceOrder, name: str, start: str, identity: tuple[str, str], earlier: Sequence[str]
) -> None:
    message = f"Merge {name} into {order.branch}\n\nA dependency of this task.\n"
    options = ("--quiet", "--ff", "--no-edit", "--no-stat", "--no-verify", "--no-verify-signatures", "--no-autostash")
    ran = git.ask(
        *("merge", *options, "-m", message, f"refs/heads/{name}"),
        ok=None,
        timeout=WRITE_SECONDS,
        env=_identity(identity),
        settings=("rerere.enabled=false", "merge.autoStash=false"),
    )
    if ran.exit_code == 0:
        return
    files = [as_text(path) for path in git.names("diff", "--name-only", "--diff-filter=U", "-z")]
    _back_to(git, start)
    if ran.exit_code == 1 or files:
        raise MergeConflict(name, files, earlier)
    raise GitError(f"could not merge {name}: {ran.stderr}", ran.command, ran.exit_code, ran.stderr)


def _identity(identity: tuple[str, str]) -> dict[str, str]:
    name, email = identity
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


_STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")


def ask_leftovers(git: Git) -> Asked:
    """Begin to look for them, in the worktree's own git, whose index is right."""
    return git.begin(*_STATUS)


def _leftovers_in(git: Git, exclude: Iterable[str], asked: Asked | None = None) -> Leftovers:
    kept_out = [os.fsencode(name.strip("/")) for name in exclude]
    left = Leftovers()
    root = os.fsencode(str(git.work_tree))
    # One process, and each file looked at once.
    said = (asked or ask_leftovers(git)).finish(WRITE_SECONDS).stdout
    for line in said.split(b"\0"):
        state, path = line[:2], line[3:]
        if not path or _is_among(path, kept_out):
            continue
        if state == b"??":
            if path.endswith(b"/"):
                left.nested.append(as_text(path).rstrip("/"))
            else:
                left.changed.append(path)
            continue
        here = root + b"/" + path
        (left.changed if _is_file_or_link(here) else left.removed).append(path)
        if os.path.lexists(here + b"/.git"):  # a file that became a repository
            left.nested.append(as_text(path))
    left.nested.sort()
    return left


def _is_among(path: bytes, names: list[bytes]) -> bool:
    return any(path == name or path.startswith(name + b"/") for name in names)


def _is_file_or_link(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _stage(git: Git, left: Leftovers) -> None:
    for option, paths in (("--force-remove", left.removed), ("--add", left.changed)):
        if paths:
            names = b"".join(path + b"\0" for path in paths)
            more = ("--replace",) if option == "--add" else ()
            git.run("update-index", option, *more, "-z", "--stdin", stdin=names, timeout=WRITE_SECONDS)
