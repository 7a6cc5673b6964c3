"""Opening a spool: its folders, its format, its identity, and the group it is open to.

Promises: a spool of a newer format is refused and left untouched; a new one gets its identity once, also when two
processes open it at the same moment. What is there is never narrowed or widened, unless a group is named.

Fails with SpoolFormatError, which says what to do, and with OSError.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from haikud.contracts.format import SPOOL_FORMAT, SpoolFormat
from haikud.contracts.states import TaskState
from haikud.spool.droppers import group_id
from haikud.spool.durable import make_folder, write_new_durably
from haikud.spool.layout import DROP_FOLDERS, TOP_FOLDERS, SpoolLayout
from haikud.spool.models import UnreadableFile, dump_as_is, read_model

GROUP_FOLDERS = (*DROP_FOLDERS, "responses", "escalations")
"""Where a group drops and reads. 2770: what is made there belongs to the group."""


class SpoolFormatError(Exception):
    """This directory cannot serve as a spool."""


def read_format(layout: SpoolLayout) -> SpoolFormat | None:
    """The spool's format; None where the directory is no spool yet; SpoolFormatError where it is not for us."""
    try:
        found = read_model(layout.format_file, SpoolFormat)
    except UnreadableFile as error:
        raise SpoolFormatError(f"{error}; put FORMAT back from a copy: repositories record its spool_id") from error
    if found is not None and found.format > SPOOL_FORMAT:
        raise SpoolFormatError(
            f"{layout.root} has spool format {found.format}; this haikud knows formats up to {SPOOL_FORMAT}: "
            "install a newer haikud, or name another directory with --spool"
        )
    return found


def open_spool(root: Path, *, group: str | None = None) -> SpoolFormat:
    """Make what is missing of the spool at `root` (absolute) and say which it is.

    `group`: a name or number; its members may drop files and read and remove answers.
    """
    layout = SpoolLayout(root)
    try:
        gid = None if group is None else group_id(group)
    except KeyError as error:
        raise SpoolFormatError(f"the settings' group {group!r} does not exist: create it, or mend `group`") from error
    if root.exists() and not root.is_dir():
        raise SpoolFormatError(f"{root} is not a folder: name another directory with --spool")
    found = read_format(layout)
    if found is None and _holds_plans(layout):
        raise SpoolFormatError(
            f"{layout.format_file} is missing, though {layout.plans} holds plans; put it back from a copy: "
            "repositories record its spool_id as the owner of their worktrees"
        )
    make_folder(root)
    for name in TOP_FOLDERS:
        make_folder(root / name)
    for state in TaskState:
        make_folder(layout.tasks / state)
    make_folder(layout.pruned)
    _check_one_filesystem(layout)
    if gid is not None:
        _open_to_group(layout, gid)
    return found or _identify(layout)


def _identify(layout: SpoolLayout) -> SpoolFormat:
    new = SpoolFormat(format=SPOOL_FORMAT, spool_id=str(uuid.uuid4()))
    try:
        write_new_durably(layout.format_file, dump_as_is(new))
    except FileExistsError:
        other = read_format(layout)  # another process was faster
        if other is None:
            raise
        return other
    return new


def _holds_plans(layout: SpoolLayout) -> bool:
    return layout.plans.is_dir() and any(not path.name.startswith(".") for path in layout.plans.iterdir())


def _check_one_filesystem(layout: SpoolLayout) -> None:
    device = layout.root.stat().st_dev
    for name in TOP_FOLDERS:
        if (layout.root / name).stat().st_dev != device:
            raise SpoolFormatError(
                f"{layout.root / name} is on another filesystem than {layout.root}: files move between a spool's "
                "folders by rename, so all of it must be on one"
            )


def _open_to_group(layout: SpoolLayout, gid: int) -> None:
    root_mode = layout.root.stat().st_mode & 0o7777
    modes = {layout.root: root_mode | 0o050, **{layout.root / name: 0o2770 for name in GROUP_FOLDERS}}
    for folder, mode in modes.items():
        try:
            if folder.stat().st_gid != gid:
                os.chown(folder, -1, gid)
            if folder.stat().st_mode & 0o7777 != mode:  # after the chown, which may clear the set-group-id bit
                folder.chmod(mode)
        except PermissionError as error:
            raise SpoolFormatError(
                f"{folder} cannot be given to group {gid}: the daemon's user must own it and be in that group"
            ) from error
