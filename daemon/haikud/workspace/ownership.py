"""Who owns a branch and its worktree: `COMMON/haikud/owners/REF.json`, outside the agent's reach.

Written before the branch exists and in one step, so that of two spools exactly one gets it, and so that everything
half-made that is found later is known to be ours. It also holds where the attempt stands between the repository's git
and the agent's own (section "attached"), which a crash must not blur. Fails with `BranchTaken`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.owner import Owner
from haikud.workspace.files import (
    create_whole,
    put_ahead,
    remove_entry,
    sync_folder,
    temporary_of,
    write_ahead,
    write_atomically,
)
from haikud.workspace.git import WorkspaceError

BRANCH_PREFIX = "feature/"


class BranchTaken(WorkspaceError):  # noqa: N818 - says what is the case
    """The branch, or the place of its worktree, exists already and is not this task's."""

    code = "BRANCH_TAKEN"


def branch_name(ref: str) -> str:
    """The branch of a task."""
    return f"{BRANCH_PREFIX}{ref}"


def ref_of(order: WorkspaceOrder) -> str:
    """The task ref that an order's branch stands for."""
    return order.branch.removeprefix(BRANCH_PREFIX)


def owners_folder(git_common_dir: str | Path) -> Path:
    """Where the records of a repository lie."""
    return Path(git_common_dir) / "haikud" / "owners"


def record_path(order: WorkspaceOrder) -> Path:
    """Where this order's record lies."""
    return owners_folder(order.git_common_dir) / f"{ref_of(order).replace('/', '%2F')}.json"


def read_owner(order: WorkspaceOrder) -> Owner | None:
    """This order's record; None where there is none. BranchTaken where it is another's."""
    owner = load_record(record_path(order))
    if owner is None:
        return None
    if owner.spool_id != order.spool_id:
        raise BranchTaken(
            f"branch {order.branch} belongs to the haikud spool {owner.spool_id} (worktree {owner.worktree}); "
            "give the plan another id"
        )
    if owner.worktree != order.worktree:
        raise BranchTaken(
            f"branch {order.branch} has its worktree at {owner.worktree}, not at {order.worktree}; "
            "remove that worktree, or set worktree_root back"
        )
    return owner


def expect_owner(order: WorkspaceOrder) -> Owner:
    """This order's record, which must be there: the worktree was prepared."""
    owner = read_owner(order)
    if owner is None:
        raise BranchTaken(f"no record says that branch {order.branch} is this task's; its worktree was not prepared")
    return owner


def load_record(path: Path) -> Owner | None:
    """The record in a file; None where there is none. WorkspaceError where it cannot be understood."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Owner.model_validate_json(data)
    except ValidationError as error:
        message = f"{path} cannot be understood; remove it if no haikud task uses branch {BRANCH_PREFIX}{path.stem}"
        raise WorkspaceError(message) from error


def take_ownership(order: WorkspaceOrder, owner: Owner) -> None:
    """Record the owner of a branch that has none. BranchTaken where someone was first."""
    path = record_path(order)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not create_whole(path, dump_owner(owner)):
        raise BranchTaken(f"branch {order.branch} was taken by another haikud task a moment ago")


def update_owner(order: WorkspaceOrder, owner: Owner, **changes: object) -> Owner:
    """Replace the record by one with these changes; returns it."""
    changed = Owner.model_validate({**owner.model_dump(), **changes})
    path = record_path(order)
    if changed != owner:
        write_atomically(path, dump_owner(changed))
    else:
        remove_entry(temporary_of(path, path.parent))  # of a writer that was killed
    return changed


def update_ahead(order: WorkspaceOrder, owner: Owner, **changes: object) -> Path:
    """The first half of `update_owner`: the new record beside the old one, to be made durable; `put_update` is next."""
    changed = Owner.model_validate({**owner.model_dump(), **changes})
    return write_ahead(record_path(order), dump_owner(changed))


def put_update(order: WorkspaceOrder) -> None:
    """The other half, when what `update_ahead` wrote is durable."""
    put_ahead(record_path(order))


def give_up_ownership(order: WorkspaceOrder) -> None:
    """Remove the record: the worktree and the branch are gone."""
    path = record_path(order)
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def all_owners(git_common_dir: str | Path) -> list[Owner]:
    """Every readable record of a repository, by ref."""
    folder = owners_folder(git_common_dir)
    if not folder.is_dir():
        return []
    records = (load_record(path) for path in sorted(folder.glob("[!.]*.json")))
    return [owner for owner in records if owner is not None]


def dump_owner(owner: Owner) -> bytes:
    """What the file of a record holds."""
    return owner.model_dump_json(indent=2).encode() + b"\n"
