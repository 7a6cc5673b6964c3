"""Dropping a file the right way: a dot-name, fsync, a rename, and the folder's fsync."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from haikud.interfaces.trouble import Trouble
from haikud.spool.durable import write_durably, write_new_durably

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike


def random_suffix(length: int = 6) -> str:
    """Letters and digits that tell two files of one name apart."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _mode_in(folder: Path) -> int:
    """In a folder that is open to a group (its set-group-id bit says so) the daemon may read by the group only.

    Whoever may write to another user's folder that is not is root, and the daemon is that user: it may read as others
    do, who cannot get there.
    """
    status = folder.stat()
    if status.st_mode & stat.S_ISGID:
        return 0o660
    return 0o600 if status.st_uid == os.geteuid() else 0o644


def drop(folder: Path, name: str, data: bytes, *, replace: bool = True) -> None:
    """Put a whole file into a drop folder; FileExistsError where one lies there and `replace` is not wanted."""
    try:
        (write_durably if replace else write_new_durably)(folder / name, data, _mode_in(folder))
    except FileNotFoundError:
        raise Trouble(
            f"the spool has no folder {folder}", advice="`haikud run` makes the spool's folders again"
        ) from None
    except PermissionError:
        raise Trouble(
            f"you may not write to {folder}",
            advice="the spool belongs to another user; its settings can open it to a group (`group`, `allowed_uids`)",
        ) from None


def drop_request(incoming: Path, plan_id: str, suffix: str, data: bytes) -> str:
    """Drop a request, never over another one; the name under which it lies now."""
    name = f"{plan_id}{suffix}"
    for _ in range(20):
        try:
            drop(incoming, name, data, replace=False)
        except FileExistsError:
            name = f"{plan_id}.{random_suffix()}{suffix}"
        else:
            return name
    raise Trouble(f"cannot find a free name for {plan_id} in {incoming}", advice="is that folder being flooded?")
