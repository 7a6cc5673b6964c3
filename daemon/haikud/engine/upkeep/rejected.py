"""Pruning what was set aside: a file in rejected/ and its reason, where that is old enough. Only where asked for.

The file goes before its reason, so that a prune that was cut short finds it again. The published answers of rejected
requests stay: they are their requesters'. A dropped folder is never removed: nobody has looked into it.
"""

from __future__ import annotations

from datetime import datetime

from haikud.contracts.rejection import SetAside
from haikud.spool.aside import REASON_SUFFIX
from haikud.spool.durable import fsync_folder, remove_if_there
from haikud.spool.layout import DROP_FOLDERS, SpoolLayout
from haikud.spool.models import UnreadableFile, read_model
from haikud.spool.taken import split_taken_name


def prune_rejected(layout: SpoolLayout, before: datetime, *, dry: bool) -> list[str]:
    """The names in rejected/ that went, or would."""
    gone: list[str] = []
    taken = _tokens_in_hand(layout)
    for reason in sorted(layout.rejected.glob(f"*{REASON_SUFFIX}")):
        try:
            record = read_model(reason, SetAside)
        except UnreadableFile:
            continue
        if record is None or record.at >= before or record.token in taken:
            continue
        path = layout.rejected / reason.name.removesuffix(REASON_SUFFIX)
        if path.is_dir() and not path.is_symlink():
            continue
        gone.append(path.name)
        if not dry:
            remove_if_there(path)
            fsync_folder(layout.rejected)
            remove_if_there(reason)
    return gone


def _tokens_in_hand(layout: SpoolLayout) -> set[str]:
    """Of files that were taken and not unlinked yet: their reasons keep them from being looked at again."""
    folders = [folder for name in DROP_FOLDERS if (folder := layout.root / name).is_dir()]
    taken = (split_taken_name(path.name) for folder in folders for path in folder.iterdir())
    return {parts[0] for parts in taken if parts}
