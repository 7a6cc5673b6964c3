"""The agent's own git: put in place for an attempt, harvested afterwards.

While an attempt lives, the worktree's `.git` names `plans/PLAN/TASK/git`, so that nothing that the agent does with git
reaches the repository. `harvest` takes over its one branch and makes the worktree one like any other again. All three
functions may be repeated after a crash at any point: where they stand is in the ownership record. Nothing of the
agent's is deleted that could be work: a replaced `.git` is moved into the task's folder, commits elsewhere than on the
branch stay in the agent's git folder, a head that is no longer part of the branch stays under `refs/haikud/kept/`.
Fails with `GitError` or `WorkspaceMismatch`; the agent's commits are then still in its git folder, and the worktree is
one like any other where it can be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace import private_folder
from haikud.workspace.checks import (
    WorkspaceMismatch,
    check_place,
    check_worktree,
    clear_branch_lock,
    expect_entry,
    find_entry,
    git_file_text,
    names_folder,
)
from haikud.workspace.durability import boot_id, mend_files, says_nothing, sync_branch, sync_worktree
from haikud.workspace.files import (
    is_folder,
    is_there,
    move_aside,
    remove_entry,
    remove_pipes,
    sync_file,
    write_atomically,
)
from haikud.workspace.git import Git, GitError, WorkspaceError
from haikud.workspace.index import refresh_index, state_of
from haikud.workspace.ownership import expect_owner, put_update, read_owner, update_ahead, update_owner
from haikud.workspace.refs import find_ref
from haikud.workspace.repositories_within import disarm
from haikud.workspace.repository import resolve
from haikud.workspace.repository_lock import repository_lock
from haikud.workspace.repository_settings import RepositorySettings, read_settings
from haikud.workspace.taking_over import other_work, set_aside, take_branch

_LOCKED_WHY = b"an attempt of haikud is at work here\n"


@dataclass(frozen=True)
class BegunWorktree:
    """A new worktree in which nobody is yet, and for which the disk has not been waited."""

    owner: Owner  # the record as it is
    entry: Path
    tip: str


@dataclass(frozen=True)
class Harvest:
    """What came of an attempt's commits."""

    head_sha: str  # of the branch, in the repository
    warnings: list[str] = field(default_factory=list)


def attach_private_git(
    order: WorkspaceOrder,
    exclude: Iterable[str] = (),
    *,
    for_tests: bool = False,
    settings: RepositorySettings | None = None,
    index_is_right: bool = False,
    begun: BegunWorktree | None = None,
) -> list[str]:
    """Put the agent's own git folder in place, fresh or continued, on the branch's present head; returns warnings.

    `exclude` names copied files (`.env`) that its `git add -A` shall not take. What a crashed attempt had committed is
    harvested first. No file of the worktree is touched but `.git`. `for_tests`: what is committed there is
    nobody's work, and is not taken over, also not after a crash. `settings` of the repository, where the caller has
    read them; `index_is_right`: nobody but haikud has had the worktree since its index last agreed with the branch.
    `begun`: a worktree that `prepare_worktree` has left open a moment ago, which has no agent's commits to take over.
    """
    settings = settings or read_settings(order.git_common_dir)
    if begun is not None:
        private_folder.complete(order, begun.entry, list(exclude), settings)
        _record_ahead(order, begun.owner, begun.entry, attached_tip=begun.tip, stage="ready")
        sync_worktree(order)  # the one wait for its files, git's entry, the branch, and what the record will say
        _attach(order, begun.owner, begun.entry)
        return []
    warnings: list[str] = []
    owner = expect_owner(order)
    if owner.attached_tip is not None:
        warnings.extend(harvest(order, settings).warnings)
        owner = expect_owner(order)
    own_git, entry = check_worktree(order, owner), expect_entry(order)
    # The branch, its index and the agent's git folder are this task's alone: with many files they take long, and others
    # need not wait for them.
    if not index_is_right:
        refresh_index(own_git, order)
    tip = _tip(order)
    owner = _after_power_cut(order, owner)
    warnings.extend(_tell_of_emptied(owner))
    private_folder.build(order, entry, tip, list(exclude), settings)
    sync_file(_record_ahead(order, owner, entry, attached_tip=tip, for_tests=for_tests))
    _attach(order, owner, entry)
    return warnings


def _record_ahead(order: WorkspaceOrder, owner: Owner, entry: Path, **changes: object) -> Path:
    now = {"boot_id": boot_id(), "index": state_of(entry / "index")}
    return update_ahead(order, owner, emptied=[], detached=False, **now, **changes)


def _attach(order: WorkspaceOrder, owner: Owner, entry: Path) -> None:
    """The record that was written ahead counts from now on, and `.git` names the agent's folder."""
    with repository_lock(order.git_common_dir):
        check_worktree(order, owner)
        (entry / "locked").write_bytes(_LOCKED_WHY)  # the user's own `git worktree prune` waits
        put_update(order)
        # What a power cut makes of it is put back in any case, by the record.
        _point_git_file(order, f"gitdir: {order.private_git}\n".encode(), durable=False)


def harvest(
    order: WorkspaceOrder,
    settings: RepositorySettings | None = None,
    then: Callable[[Git], object] | None = None,
) -> Harvest:
    """Take the agent's branch into the repository and put the worktree's own git back; the agent has ended.

    Afterwards `git status` in the worktree shows what the agent left uncommitted. Where nothing is attached it only
    puts `.git` and the index right. `settings` of the repository, where the caller has read them. `then` is called with
    the worktree's git as soon as git can be asked about its files, so that it answers while the disk is waited for.
    """
    settings = settings or read_settings(order.git_common_dir)
    warnings = _remove_traps(order)
    with repository_lock(order.git_common_dir):
        owner = expect_owner(order)
        clear_branch_lock(order)
        if owner.for_tests:
            owner = _forget_tests(order, owner, warnings, settings)
        if owner.attached_tip is not None:
            try:
                take_branch(order, owner, owner.attached_tip, warnings, settings)
            except WorkspaceError as error:
                if not isinstance(error, GitError) or not _power_was_cut(owner):
                    # What cannot be taken now may be later; the worktree must be one like any other all the same.
                    _put_back(order, owner, warnings)
                    update_owner(order, owner, detached=True)
                    raise
                warnings.append(_set_aside_damaged(order, error))
    # Without the lock: an index of many files takes long, and nobody else's work is touched.
    _put_back(order, owner, warnings, then)
    owner = _after_power_cut(order, owner)
    tip = _tip(order)
    if owner.attached_tip is not None and tip != owner.start_sha:  # also what an earlier attempt had no time to sync
        sync_branch(order, owner.start_sha)  # before anything rests on it: the record, the result
    with repository_lock(order.git_common_dir):
        update_owner(order, owner, attached_tip=None, detached=False, index=None)
    return Harvest(tip, warnings)


def is_attached(order: WorkspaceOrder) -> bool:
    """Whether the agent's own git folder is still in place in the worktree: nobody has harvested or detached it."""
    owner = read_owner(order)
    return owner is not None and owner.attached_tip is not None and not owner.detached


def detach_private_git(order: WorkspaceOrder, settings: RepositorySettings | None = None) -> list[str]:
    """Only put the worktree's own git back, for a task that is final; returns warnings.

    What the agent committed stays in its git folder, and is harvested should the task ever go on. What tests committed
    is not.
    """
    warnings = _remove_traps(order)
    _put_back(order, expect_owner(order), warnings)
    with repository_lock(order.git_common_dir):
        owner = expect_owner(order)
        if owner.for_tests:
            _forget_tests(order, owner, warnings, settings)
        else:
            update_owner(order, owner, detached=owner.attached_tip is not None, index=None)
        return warnings


def commits_elsewhere(order: WorkspaceOrder) -> list[str]:
    """What lies in the agent's git folder and in no ref of the repository, in words; the agent has ended.

    The folder is made trustworthy first, as `harvest` does. Nothing is taken over.
    """
    with repository_lock(order.git_common_dir):
        left = private_folder.reclaim(order)
        if left is None:
            return []
        private, repository = Git(order.private_git), Git(order.git_common_dir)
        tip = resolve(private, f"refs/heads/{order.branch}")
        found = list(other_work(order, private, left, tip))
        if tip is not None and not _is_somewhere(repository, tip):
            found.append(f"the agent's {tip[:12]} on {order.branch} is in {order.private_git} alone")
        return found


def _remove_traps(order: WorkspaceOrder) -> list[str]:
    """What git would wait on or obey in the worktree, whoever runs it there."""
    worktree, owner = Path(order.worktree), read_owner(order)
    if not is_folder(worktree):
        return []
    removed, nested = remove_pipes(worktree)
    warnings = []
    if removed:
        warnings.append(f"removed what is no file from where git would wait on it: {', '.join(removed[:5])}")
    if owner is not None and owner.attached_tip is not None:  # else what is there is its user's
        changed = disarm(nested, (worktree, Path(order.private_git) / "modules"), Path(order.git_common_dir))
        if changed:
            names = ", ".join(os.path.relpath(one, worktree) for one in changed[:5])
            warnings.append(f"took out commands, hooks or links of git repositories within the worktree: {names}")
    return warnings


def _is_somewhere(git: Git, sha: str) -> bool:
    return resolve(git, sha) is not None and bool(git.run("for-each-ref", "--count=1", f"--contains={sha}").strip())


def _forget_tests(
    order: WorkspaceOrder, owner: Owner, warnings: list[str], settings: RepositorySettings | None
) -> Owner:
    """The folder was in place for tests: made trustworthy again, nothing is waiting in it. The record afterwards."""
    try:
        private_folder.reclaim(order, settings)
    except WorkspaceError as error:
        warnings.append(set_aside(order, ".damaged-", f"the tests damaged the agent's git folder ({error})"))
    return update_owner(order, owner, attached_tip=None, detached=False, for_tests=False)


def _tip(order: WorkspaceOrder) -> str:
    tip = find_ref(order.git_common_dir, f"refs/heads/{order.branch}")
    if tip is None:
        raise WorkspaceMismatch(f"branch {order.branch} is gone from {order.git_common_dir}")
    return tip


def _power_was_cut(owner: Owner) -> bool:
    """Whether the machine is known to have gone down since an attempt last began here: what was not synced may be gone.

    What cannot be told is no power cut: for one, the agent's git folder would be set aside.
    """
    now = boot_id()
    return owner.boot_id is not None and now is not None and owner.boot_id != now


def _after_power_cut(order: WorkspaceOrder, owner: Owner) -> Owner:
    """Put back the files that a power cut emptied, before anybody commits them; told of at the next attach."""
    if not _power_was_cut(owner) or not is_folder(Path(order.worktree)):
        return owner
    emptied = mend_files(Git(expect_entry(order), order.worktree))
    return update_owner(order, owner, boot_id=boot_id(), emptied=sorted({*owner.emptied, *emptied}))


def _tell_of_emptied(owner: Owner) -> Iterable[str]:
    if owner.emptied:
        names = ", ".join(owner.emptied[:10])
        yield f"the machine went down during an attempt and emptied files that were being edited; put back: {names}"


def _set_aside_damaged(order: WorkspaceOrder, error: GitError) -> str:
    why = f"the machine went down during an attempt and damaged the agent's git folder ({error})"
    return set_aside(order, ".damaged-", why)


def _put_back(
    order: WorkspaceOrder, owner: Owner, warnings: list[str], then: Callable[[Git], object] | None = None
) -> None:
    """The worktree's own `.git` and an index that agrees with the branch; no other file of the worktree is touched.

    An index that nobody has written since the attempt began, on a branch that is where it was, agrees already.
    """
    entry = find_entry(order.git_common_dir, order.worktree)
    if entry is not None:
        remove_entry(entry / "locked")
    try:
        worktree = check_place(order, owner)
    except WorkspaceMismatch as error:
        warnings.append(f"{error}; what was not committed there is not part of the branch")
        return
    entry = entry or expect_entry(order)
    git_file, own_git, power_was_cut = worktree / ".git", Git(entry, worktree), _power_was_cut(owner)
    is_own = names_folder(git_file, entry)
    if not is_own:
        if power_was_cut and says_nothing(git_file):
            remove_entry(git_file)
        elif not is_there(git_file):
            warnings.append("the agent removed the worktree's .git; it was put back")
        elif is_folder(git_file) or not names_folder(git_file, Path(order.private_git)):
            moved = move_aside(git_file, Path(order.private_git), ".replaced-")
            warnings.append(f"the agent replaced the worktree's .git; what it put there lies in {moved}")
    is_as_noted = owner.index == state_of(entry / "index")
    if owner.index is None or not is_as_noted or power_was_cut or _tip(order) != owner.attached_tip:
        refresh_index(own_git, order, is_ours=owner.index is None or is_as_noted)
    if then is not None and not power_was_cut:  # else files are put back that it emptied
        then(own_git)
    if not is_own:
        _point_git_file(order, git_file_text(entry))


def _point_git_file(order: WorkspaceOrder, text: bytes, *, durable: bool = True) -> None:
    worktree = Path(order.worktree)
    write_atomically(worktree / ".git", text, beside=worktree.parent, durable=durable)
