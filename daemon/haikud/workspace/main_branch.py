"""Moving the branch that finished work is merged into: to a commit that is built and tested, in one step.

Where no checkout has the branch out it is a compare-and-swap of the ref; where one has, `git merge --ff-only` in that
checkout, which must be clean. `check_can_move` asks everything beforehand and changes nothing, so that several
repositories can all be asked before the first is moved; it is asked again under the lock by `move_branch`.

What a move that was cut short has already written into the checkout is no obstacle to the same move: files that are on
the disk what the result has, whether the index knows it yet or not. Fails with `CannotMove`, which says why and what to
do.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from haikud.workspace.durability import sync_filesystem
from haikud.workspace.files import is_there
from haikud.workspace.git import WRITE_SECONDS, Git, GitError, WorkspaceError, as_text
from haikud.workspace.ownership import all_owners
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
    return _look(git_common_dir, branch, onto, result)[0]


def _look(git_common_dir: str | Path, branch: str, onto: str, result: str) -> tuple[Path | None, list[bytes]]:
    """The same, and the paths that a move which was cut short has written there without the index knowing."""
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
        return None, []
    return checkouts[0], _check_checkout(checkouts[0], onto, result)


def move_branch(git_common_dir: str | Path, branch: str, onto: str, result: str, why: str) -> Path | None:
    """Move the branch from `onto` to `result`, durably; the checkout that moved with it. Raises CannotMove."""
    with repository_lock(git_common_dir):
        checkout, written = _look(git_common_dir, branch, onto, result)
        sync_filesystem(git_common_dir)  # the result's objects, before a name rests on them
        if checkout is None:
            try:
                Git(git_common_dir).run("update-ref", "-m", why, f"refs/heads/{branch}", result, onto)
            except GitError as error:
                raise CannotMove(f"git did not move {branch}: {error}", "run haikud merge again") from error
        else:
            _fast_forward(checkout, branch, result, why, written)
            if resolve(Git(git_common_dir), f"refs/heads/{branch}") != result:  # somebody switched it just now
                raise CannotMove(f"git did not move {branch} to {result[:12]} in {checkout}", "see `git status` there")
            sync_filesystem(checkout)
        sync_filesystem(git_common_dir)
    return checkout


def _fast_forward(checkout: Path, branch: str, result: str, why: str, written: list[bytes]) -> None:
    git = _git_in(checkout)
    # Options of the branch's own (`-s ours`, `--squash`) go before ours on git's command line, and would win.
    setting = {"KEY_0": f"branch.{branch}.mergeOptions", "VALUE_0": "--ff-only", "COUNT": "1"}
    environment = {"GIT_REFLOG_ACTION": why} | {f"GIT_CONFIG_{name}": value for name, value in setting.items()}
    options = ("--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-overwrite-ignore", "--no-verify-signatures")
    try:
        if written:
            git.ask(*_TAKE_UP, stdin=_listed(written))
        git.ask("merge", *options, result, timeout=WRITE_SECONDS, env=environment)
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


def _check_checkout(checkout: Path, onto: str, result: str) -> list[bytes]:
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
    _refuse_lost_submodules(git, checkout, onto, result)
    _refuse_submodules_of_agents(git, checkout, onto, result)
    changed, untracked = _changed(git, result), _untracked(git, checkout, onto, result)
    written = _written_already(git, onto, result, changed | untracked)
    _refuse(checkout, "changes that are not committed", "commit or stash them", changed - written)
    _refuse(checkout, "untracked files where the merge brings its own", "move them away", untracked - written)
    return sorted(written)


def _refuse(checkout: Path, what: str, advice: str, paths: Iterable[bytes]) -> None:
    names = sorted(map(as_text, paths))
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise CannotMove(
            f"{checkout} has {what}: {', '.join(names[:5])}{more}", f"{advice}, then run haikud merge again"
        )


def _changed(git: Git, result: str) -> set[bytes]:
    """Tracked files that differ from the checkout's commit, and from the result too."""
    status = git.names("status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all")
    changed = {line[3:] for line in status}
    if not changed:
        return set()
    other = {*git.names("diff-index", "--cached", "-z", "--name-only", "--no-renames", result)}
    return changed & (other | {*git.names("diff-files", "-z", "--name-only")})


def _untracked(git: Git, checkout: Path, onto: str, result: str) -> set[bytes]:
    """Files that git does not know and the merge would write over, ignored ones too."""
    added = git.names("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", onto, result)
    names = {path: checkout / os.fsdecode(path) for path in added}
    folders = [os.fsdecode(path) for path, name in names.items() if name.is_dir() and not name.is_symlink()]
    present = {path for path, name in names.items() if os.path.lexists(name)} - {*map(os.fsencode, folders)}
    if present:
        present -= {*git.names("ls-files", "-z")}
    if folders:  # that make way for a file: what git knows of them goes with the merge
        present |= {*git.names("--literal-pathspecs", "ls-files", "-z", "--others", "--", *folders)}
    return present


def _refuse_lost_submodules(git: Git, checkout: Path, onto: str, result: str) -> None:
    """A submodule that becomes a file: git removes its checkout, with whatever work is in it."""
    parts = git.names("diff-tree", "-r", "-z", "--raw", "--no-renames", "--diff-filter=T", onto, result)
    for entry, path in zip(parts[::2], parts[1::2], strict=True):
        folder = checkout / os.fsdecode(path)
        if entry.startswith(b":160000 ") and folder.is_dir() and any(folder.iterdir()):
            raise CannotMove(
                f"{folder} is a submodule, and the merge puts a file in its place",
                "save what is in it and `git submodule deinit` it, then run haikud merge again",
            )


def _refuse_submodules_of_agents(git: Git, checkout: Path, onto: str, result: str) -> None:
    """A submodule that would lie in a worktree of haikud's: git would enter it here, and an agent writes there."""
    common = git.line("rev-parse", "--path-format=absolute", "--git-common-dir")
    parts = git.names("diff-tree", "-r", "-z", "--raw", "--no-renames", "--diff-filter=AMT", onto, result)
    added = [
        os.fsdecode(path) for entry, path in zip(parts[::2], parts[1::2], strict=True) if b" 160000 " in entry[:15]
    ]
    places = {Path(owner.real_worktree).parent for owner in all_owners(common)} if added else set()
    top = Path(os.path.realpath(checkout))
    for path in added:
        if any(place != top and (top / path).is_relative_to(place) for place in places if place.is_relative_to(top)):
            raise CannotMove(
                f"the merge puts a submodule at {path}, where worktrees of agents lie",
                "take it out of the branch: git would run there what an agent left",
            )


_TAKE_UP = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")


def _listed(paths: Iterable[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)


def _written_already(git: Git, onto: str, result: str, paths: set[bytes]) -> set[bytes]:
    """Those of these paths that are on the disk as the result has them, and in the index as before: no work is there.

    Asked of a copy of the index, so that git's own filters and modes count.
    """
    differs = ("diff-index", "--cached", "-z", "--name-only", "--no-renames")
    if not paths or not (paths := paths - ({*git.names(*differs, onto)} & {*git.names(*differs, result)})):
        return set()
    with tempfile.TemporaryDirectory(prefix="haikud-index-") as folder:
        copy = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        shutil.copy2(Path(str(git.git_dir)) / "index", copy["GIT_INDEX_FILE"])  # its time is what git trusts stats by
        try:
            git.ask(*_TAKE_UP, stdin=_listed(sorted(paths)), env=copy)
        except GitError:  # something that git cannot take: a folder where a file belongs
            return set()
        return paths - {*git.ask(*differs, result, env=copy).stdout.split(b"\0")}
