"""Where a merge's result is tested: a folder of its own beside the tasks' worktrees, and the lock on merging.

`WORKTREES/.merge-PLAN/` holds `tree/` (the result, checked out), `git/` (a private git folder, as an agent's: what the
tests do with git reaches no branch of the repository), `home/` and `tmp/`. The record `COMMON/haikud/owners/` has of
it says that it is haikud's and of which plan, so that whoever comes after a kill can clear it away; it is written
first and removed last. One merge at a time in a repository: an flock on `COMMON/haikud/merge.lock`, which the kernel
frees with its holder. Fails with `MergeIsRunning`, `WorkspaceError` or OSError.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace import private_folder
from haikud.workspace.copies import copy_into
from haikud.workspace.files import create_whole, is_there, remove_entry, sync_folder
from haikud.workspace.git import WRITE_SECONDS, Git, WorkspaceError
from haikud.workspace.ownership import all_owners, dump_owner, owners_folder
from haikud.workspace.repository_lock import repository_lock

_PREFIX = "merge/"
"""Of the ref in such a record; no task's ref has a slash."""

LOCK_NAME = "merge.lock"


class MergeIsRunning(WorkspaceError):  # noqa: N818 - says what is the case
    """Another merge works in this repository."""

    code = "MERGE_IS_RUNNING"


@dataclass(frozen=True)
class MergePlace:
    """The folder; its path is also the HAIKUD_OUT of what runs in it."""

    folder: Path

    @property
    def tree(self) -> Path:
        """The result, checked out."""
        return self.folder / "tree"

    @property
    def home(self) -> Path:
        """HOME of what runs there."""
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        """TMPDIR of what runs there."""
        return self.folder / "tmp"


@contextmanager
def merge_lock(git_common_dir: str | Path) -> Iterator[None]:
    """Hold the lock on merging in a repository. Raises MergeIsRunning; waits for nobody."""
    path = lock_path(git_common_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MergeIsRunning(f"another haikud merge works in {git_common_dir}") from error
        yield
    finally:
        os.close(descriptor)


def lock_path(git_common_dir: str | Path) -> Path:
    """Where that lock lies."""
    return Path(git_common_dir) / "haikud" / LOCK_NAME


def is_merge_record(owner: Owner) -> bool:
    """Whether a record of ownership is that of a merge's place, and of no task."""
    return owner.ref.startswith(_PREFIX)


def plan_of_merge(owner: Owner) -> str:
    """The plan whose merge it is."""
    return owner.ref.removeprefix(_PREFIX)


def merge_places(git_common_dir: str | Path) -> list[Owner]:
    """The records of all merges of a repository: at work, or left by a kill."""
    return [owner for owner in all_owners(git_common_dir) if is_merge_record(owner)]


def place_of(owner: Owner) -> MergePlace:
    """The place that a record stands for."""
    return MergePlace(Path(owner.worktree))


def make_merge_place(order: WorkspaceOrder, plan_id: str, into: str, result: str, copies: Iterable[str]) -> MergePlace:
    """Check out `result` in a place of its own. Call it with the merge lock held and nothing left of an earlier one.

    `order` is that of one of the plan's tasks: it says where worktrees lie. `into` is the branch that the result is
    for; `copies` are files such as `.env` that the checkout has and git has not.
    """
    common = Path(order.git_common_dir)
    place = MergePlace(Path(order.worktree).parent / f".merge-{plan_id}")
    if is_there(place.folder):
        raise WorkspaceError(f"{place.folder} is there, and no record says that it is a merge's; move it away")
    owner = Owner(
        spool_id=order.spool_id,
        ref=f"{_PREFIX}{plan_id}",
        branch=into,
        worktree=str(place.folder),
        real_worktree=os.path.realpath(place.folder),
        start_sha=result,
    )
    with repository_lock(common):
        owners_folder(common).mkdir(parents=True, exist_ok=True)
        if not create_whole(_record(common, plan_id), dump_owner(owner)):
            raise WorkspaceError(f"{_record(common, plan_id)} is there already; see `haikud doctor`")
    place.folder.mkdir(parents=True, mode=0o700)
    for folder in (place.tree, place.home, place.temporary):
        folder.mkdir(mode=0o700)
    Git(common, place.tree).ask(
        *("read-tree", "--reset", "-u", result),
        timeout=WRITE_SECONDS,
        env={"GIT_INDEX_FILE": str(place.folder / "index")},
    )
    copied = copy_into(order.repository, place.tree, copies)
    private = order.model_copy(update={"private_git": str(place.folder / "git"), "branch": into})
    private_folder.build(private, place.folder, result, copied)
    (place.tree / ".git").write_text(f"gitdir: {place.folder / 'git'}\n", encoding="utf-8")
    return place


def clear_merge_place(git_common_dir: str | Path, owner: Owner) -> None:
    """Remove a place and its record. The merge lock is held, and no process lives there any more."""
    folder = place_of(owner).folder
    if folder.name != f".merge-{plan_of_merge(owner)}":
        raise WorkspaceError(f"the record of {owner.ref} names {folder}, which no merge has made; remove the record")
    remove_entry(folder)
    if folder.parent.is_dir():
        sync_folder(folder.parent)
    path = _record(git_common_dir, plan_of_merge(owner))
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def _record(git_common_dir: str | Path, plan_id: str) -> Path:
    return owners_folder(git_common_dir) / f"merge%2F{plan_id}.json"
