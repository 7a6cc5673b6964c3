"""Who may drop files: whose files count in incoming/, guidance/ and control/, and where an owner vouches for a drop.

A file's owner tells who wrote it, not who put it here under this name: in a folder that strangers may write, anyone
renames another's half-written file, or links one of his. There a file counts only as far as the kernel keeps strangers
from doing so. Names are looked up anew each time: who leaves the group may not drop any more. What cannot be looked up
is a no. Fails with OSError where a folder cannot be looked at.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


@dataclass(frozen=True)
class Droppers:
    """The users whose files are taken, and the group whose members' files are."""

    uids: frozenset[int]
    gid: int | None = None

    def may_drop(self, uid: int) -> bool:
        """Whether that user's files count."""
        return uid in self.uids or (self.gid is not None and is_member(uid, self.gid))

    def __str__(self) -> str:
        users = f"users {', '.join(map(str, sorted(self.uids)))}"
        return users if self.gid is None else f"{users} and the members of group {name_of_group(self.gid)}"


class Openness(Enum):
    """What strangers can do in a folder."""

    CLOSED = "closed"
    OWN_FILES = "own files"  # drop, and rename or remove what is theirs: the sticky bit
    ANYTHING = "anything"


def droppers(allowed_uids: Iterable[int] = (), gid: int | None = None) -> Droppers:
    """Root, this process's user, and those that the settings name."""
    return Droppers(frozenset({0, os.geteuid(), *allowed_uids}), gid)


def group_id(group: str) -> int:
    """A group's number, by its name or number. Raises KeyError where there is no such group."""
    return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid


def name_of_group(gid: int) -> str:
    """The group's name, else its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def is_member(uid: int, gid: int) -> bool:
    """Whether the user is in the group, as its first one or another."""
    try:
        user = pwd.getpwuid(uid)
        return gid in os.getgrouplist(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return False


def is_own_group(gid: int) -> bool:
    """Whether the group is this user's private one: of the same name, without other members."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def strangers_bits(status: os.stat_result, gid: int | None) -> int:
    """The permissions (as for others: 4, 2, 1) that a folder or file gives to users who are not meant. `gid` is."""
    bits, groups = status.st_mode & 0o007, (status.st_mode & 0o070) >> 3
    if groups & ~bits and status.st_gid != gid and not is_own_group(status.st_gid):
        bits |= groups
    return bits


def openness(folder: Path, who: Droppers) -> Openness:
    """What strangers can do in a drop folder, or to it in the spool's folder. Who owns one can do anything there."""
    found = Openness.CLOSED
    for path in (folder, folder / ".."):
        status = path.stat()
        if not who.may_drop(status.st_uid):
            return Openness.ANYTHING
        if strangers_bits(status, who.gid) & 0o2:
            if not status.st_mode & stat.S_ISVTX:
                return Openness.ANYTHING
            found = Openness.OWN_FILES
    return found


def why_not_vouched(status: os.stat_result, found: Openness, gid: int | None) -> str | None:
    """Why an allowed owner does not vouch for a file in a folder that is so open; None where he does.

    What cannot be told: a file of his that nobody else may write, moved here out of a folder that strangers may write.
    """
    if found is Openness.ANYTHING:
        return "strangers own this folder or the spool's, or may rename files there: its owner did not have to drop it"
    if found is Openness.OWN_FILES and status.st_nlink > 1:
        return f"it has {status.st_nlink} names, and strangers may link files into this folder"
    if found is Openness.OWN_FILES and strangers_bits(status, gid) & 0o2:
        return "others may write it, and put it into this folder"
    return None
