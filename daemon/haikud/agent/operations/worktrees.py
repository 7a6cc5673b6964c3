"""worktree-manager: create, list, inspect and remove worktrees of a repository, without a model.

A worktree made here is owned by this spool under the name that it is given, as a task's is: a task with that ref goes
on in it. Nothing is removed that holds work which is nowhere else, nor what an open task works in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from haikud.agent.attempt import Attempt
from haikud.agent.operations.params import Params, read_params, refused
from haikud.agent.worktree import git_work
from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.format import SpoolFormat
from haikud.contracts.ids import is_usable_id
from haikud.contracts.plan import RepositoryAtAdmission
from haikud.contracts.states import OPEN_STATES
from haikud.spool.models import read_model
from haikud.workspace.commits import find_leftovers
from haikud.workspace.git import Git, as_text
from haikud.workspace.removal import WorktreeFacts, list_worktrees, remove_worktree
from haikud.workspace.repository import resolve
from haikud.workspace.worktrees import branch_name, prepare_worktree, worktree_path


class OfWorktree(Params):
    """remove_worktree, worktree_status: which one, by the ref that it was made for."""

    name: str = Field(min_length=1, validation_alias=AliasChoices("name", "task_id", "ref", "id"))


class NewWorktree(OfWorktree):
    """create_worktree. `base`: a branch, tag or commit to start from instead of the main branch."""

    base: str | None = Field(None, min_length=1, validation_alias=AliasChoices("base", "base_branch"))


class Removal(OfWorktree):
    """remove_worktree."""

    keep_branch: bool = False


def create_worktree(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """A branch and worktree; the one that is there where an attempt before this one made it."""
    wanted = read_params("create_worktree", params, NewWorktree)
    repository = _repository(attempt)
    base = repository.base_sha
    with git_work("Creating the worktree"):
        if wanted.base is not None:
            found = None if wanted.base.startswith("-") else resolve(Git(repository.git_common_dir), wanted.base)
            if found is None:
                raise refused("create_worktree", "NO_SUCH_BASE", f"{repository.path} has no commit {wanted.base!r}")
            base = found
        order = _order(attempt, repository, wanted.name, base)
        prepared = prepare_worktree(order)
    attempt.evidence.update(branch=order.branch, worktree=order.worktree, base_sha=prepared.start_sha)
    return {
        "success": True,
        **_where(repository, order.worktree, order.branch),
        "base_sha": prepared.start_sha,
        "created": prepared.created,
    }


def list_all(attempt: Attempt, _params: dict[str, Any]) -> dict[str, Any]:
    """Every worktree that haikud made in the repository."""
    repository = _repository(attempt)
    with git_work("Listing the worktrees"):
        found = list_worktrees(repository.git_common_dir)
    return {"success": True, "count": len(found), "worktrees": [_shown(repository, facts) for facts in found]}


def worktree_status(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """One worktree: its branch, commits since its start, what is not committed."""
    wanted = read_params("worktree_status", params, OfWorktree)
    repository = _repository(attempt)
    with git_work("Inspecting the worktree"):
        facts = _find("worktree_status", repository, wanted.name)
        shown = _shown(repository, facts)
        if facts.head_sha is not None:
            git = Git(repository.git_common_dir)
            shown["commits"] = int(git.line("rev-list", "--count", f"{facts.start_sha}..{facts.head_sha}"))
        if facts.present and not facts.at_work:
            left = find_leftovers(_order_of(attempt, repository, facts))
            shown["uncommitted"] = sorted(as_text(path) for path in (*left.changed, *left.removed))
    return {"success": True, **shown}


def remove(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Remove a worktree and its branch, where the work is merged or pushed."""
    wanted = read_params("remove_worktree", params, Removal)
    repository = _repository(attempt)
    with git_work("Removing the worktree"):
        facts = _find("remove_worktree", repository, wanted.name)
        if facts.spool_id != _spool_id(attempt):
            raise refused("remove_worktree", "NOT_OURS", f"{facts.worktree} belongs to the spool {facts.spool_id}")
        for state in OPEN_STATES:
            if attempt.layout.link(state.value, facts.ref).is_symlink():
                raise refused("remove_worktree", "IN_USE", f"the task {facts.ref} is {state.value} and works there")
        remove_worktree(_order_of(attempt, repository, facts), keep_branch=wanted.keep_branch)
    return {"success": True, **_where(repository, facts.worktree, facts.branch), "removed": True}


WORKTREE_OPERATIONS: dict[str, Callable[[Attempt, dict[str, Any]], dict[str, Any]]] = {
    "create_worktree": create_worktree,
    "list_worktrees": list_all,
    "worktree_status": worktree_status,
    "status": worktree_status,
    "remove_worktree": remove,
}


def _repository(attempt: Attempt) -> RepositoryAtAdmission:
    repository = attempt.spec.task.repository
    if repository is None:
        raise refused(str(attempt.spec.task.operation), "NO_REPOSITORY", "the request names no repository")
    return repository


def _spool_id(attempt: Attempt) -> str:
    form = read_model(attempt.layout.format_file, SpoolFormat)
    if form is None:
        raise FileNotFoundError(f"{attempt.layout.format_file} is gone")
    return form.spool_id


def _find(operation: str, repository: RepositoryAtAdmission, name: str) -> WorktreeFacts:
    found = list_worktrees(repository.git_common_dir)
    for facts in found:
        if facts.ref == name:
            return facts
    known = ", ".join(facts.ref for facts in found) or "none"
    raise refused(operation, "NO_SUCH_WORKTREE", f"haikud has no worktree {name!r} there; it has {known}")


def _order(attempt: Attempt, repository: RepositoryAtAdmission, name: str, base: str) -> WorkspaceOrder:
    if not all(is_usable_id(part) for part in name.split(".", 1)):
        raise refused("create_worktree", "BAD_PARAMS", f"params.name: {name!r} is not usable as a name of a task")
    return WorkspaceOrder(
        repository=repository.path,
        git_common_dir=repository.git_common_dir,
        branch=branch_name(name),
        worktree=str(worktree_path(repository.path, name)),
        main_branch=repository.main_branch,
        base_sha=base,
        private_git=str(attempt.layout.task(name).private_git),
        spool_id=_spool_id(attempt),
    )


def _order_of(attempt: Attempt, repository: RepositoryAtAdmission, facts: WorktreeFacts) -> WorkspaceOrder:
    order = _order(attempt, repository, facts.ref, facts.start_sha)
    return order.model_copy(update={"worktree": facts.worktree, "spool_id": facts.spool_id})


def _where(repository: RepositoryAtAdmission, worktree: str, branch: str) -> dict[str, Any]:
    path = Path(worktree)
    shown = path.relative_to(repository.path) if path.is_relative_to(repository.path) else path
    return {"worktree": str(shown), "worktree_path": worktree, "branch": branch}


def _shown(repository: RepositoryAtAdmission, facts: WorktreeFacts) -> dict[str, Any]:
    return {
        "name": facts.ref,
        **_where(repository, facts.worktree, facts.branch),
        "head_sha": facts.head_sha,
        "base_sha": facts.start_sha,
        "present": facts.present,
        "at_work": facts.at_work,
    }
