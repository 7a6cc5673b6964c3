"""The agent's branch taken into the repository, and what else the agent left in its git folder told of.

The folder is made trustworthy first (`private_folder.reclaim`). Git checks every object that it takes. Nothing is
dropped: a head that is no longer part of the branch stays under `refs/haikud/kept/`, a folder that cannot be used is
moved aside. Fails with `CommitsRefused` and `GitError`; the agent's commits are then still in its git folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace import private_folder
from haikud.workspace.files import is_there, move_aside
from haikud.workspace.git import NETWORK_SECONDS, Git, GitError, WorkspaceError
from haikud.workspace.ownership import ref_of
from haikud.workspace.refs import find_ref
from haikud.workspace.repository import resolve
from haikud.workspace.repository_settings import RepositorySettings

_MOST_OTHERS = 20
"""Refs beside the branch that are looked at: each costs a call of git, and an agent may have made any number."""


class CommitsRefused(WorkspaceError):  # noqa: N818 - says what is the case
    """Git does not take the agent's commits: an object of theirs is not sound. The same would be refused again."""

    code = "COMMITS_REFUSED"

    def __init__(self, order: WorkspaceOrder, why: str) -> None:
        super().__init__(
            f"git refuses the agent's commits on {order.branch}: {why}. They stay in {order.private_git}; the next "
            "attempt moves that folder aside and starts from the branch, with the worktree's files as they are"
        )


def take_branch(
    order: WorkspaceOrder, owner: Owner, attached_tip: str, warnings: list[str], settings: RepositorySettings
) -> None:
    """Fetch the agent's branch, with everything noted that is not as expected."""
    repository, branch = Git(order.git_common_dir), f"refs/heads/{order.branch}"
    now = find_ref(order.git_common_dir, branch)
    left = private_folder.reclaim(order, settings)
    if left is None:
        warnings.append(_set_aside_folder(order))
        return
    warnings.extend(f"the agent left {what} unfinished" for what in left.unfinished)
    if left.odd:
        warnings.append(f"removed links or special files from the agent's git folder: {', '.join(left.odd[:5])}")
    private = Git(order.private_git)
    tip = _commit_of(private, left, branch)
    warnings.extend(other_work(order, private, left, tip))
    if tip is None:
        warnings.append(f"the agent's git folder has no branch {order.branch}; the repository's stays as it was")
        return
    if owner.detached and now not in {attached_tip, tip}:
        warnings.append(f"{order.branch} has moved since; the agent's {tip[:12]} stays in {order.private_git}")
        return
    if tip == now:
        return
    if now is not None and not _is_ancestor(private, now, tip):
        kept = f"refs/haikud/kept/{ref_of(order)}/{now[:12]}"
        repository.run("update-ref", kept, now)
        warnings.append(f"the branch no longer contains its earlier head {now[:12]}, which is kept as {kept}")
    try:
        _fetch(order, repository, branch)
    except GitError as error:
        why = _unsound(error)
        if why is None:
            raise
        if not owner.detached:
            raise CommitsRefused(order, why) from error
        warnings.append(set_aside(order, ".refused-", f"git refuses the agent's commits: {why}"))


def _commit_of(private: Git, left: private_folder.Reclaimed, branch: str) -> str | None:
    tip = left.refs.get(branch)
    return tip if tip is None or tip in left.commits else resolve(private, branch)


def _unsound(error: GitError) -> str | None:
    """What `fetch.fsckObjects` found, in git's words; None where it found nothing."""
    lines = [line.partition(": ")[2] for line in error.stderr.splitlines() if line.startswith("error: object ")]
    return "; ".join(lines) if lines and "fsck" in error.stderr else None


def _fetch(order: WorkspaceOrder, repository: Git, branch: str) -> None:
    repository.ask(
        *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-head-ok", "--no-recurse-submodules"),
        *("--no-auto-maintenance", "--no-prune", "--no-show-forced-updates"),
        *(order.private_git, f"+{branch}:{branch}"),
        settings=("protocol.file.allow=always", "fetch.fsckObjects=true", "fetch.writeCommitGraph=false"),
        timeout=NETWORK_SECONDS,
    )


def _is_ancestor(git: Git, older: str, newer: str) -> bool:
    return git.ask("merge-base", "--is-ancestor", older, newer, ok=None).exit_code == 0


def other_work(order: WorkspaceOrder, private: Git, left: private_folder.Reclaimed, tip: str | None) -> Iterable[str]:
    """A warning for each place other than the branch where the agent committed something."""
    known = {f"refs/heads/{order.branch}"}
    below = [tip or order.base_sha, order.base_sha]
    others = {
        name: sha
        for name, sha in left.refs.items()
        if name not in known and sha not in below and not name.startswith(("refs/tags/", "refs/remotes/"))
    }
    if len(others) > _MOST_OTHERS:
        yield f"the agent left {len(others)} other refs, of which {_MOST_OTHERS} were looked at; they stay there"
    for name, sha in list(others.items())[:_MOST_OTHERS]:
        ran = private.ask("rev-list", "--count", sha, "--not", *below, ok=None)
        count = int(ran.text) if ran.exit_code == 0 and ran.text.strip().isdigit() else 0
        if count:
            where = "a detached HEAD" if name == "refs/haikud/detached-head" else name.removeprefix("refs/heads/")
            yield (
                f"the agent left {count} commit(s) on {where} ({sha[:12]}) and not on {order.branch}; "
                f"they stay in {order.private_git}"
            )


def _set_aside_folder(order: WorkspaceOrder) -> str:
    private = Path(order.private_git)
    if not is_there(private):
        return f"the agent's git folder {private} is gone; {order.branch} stays as it was"
    moved = move_aside(private, private, ".replaced-")
    return f"the agent replaced its git folder, which now lies in {moved}; {order.branch} stays as it was"


def set_aside(order: WorkspaceOrder, suffix: str, why: str) -> str:
    """Move the agent's git folder to its own name with a suffix; a warning."""
    private = Path(order.private_git)
    moved = move_aside(private, private, suffix)
    return f"{why}; the folder now lies in {moved}, {order.branch} stays as it was"
