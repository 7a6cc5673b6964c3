"""Whether the tracked files of a checkout are as they were when git last said that nothing has changed.

The names come from the index (gitformat-index(5)), which is only read; what each file was is noted before git is asked,
so that its answer holds for what was noted or for something later, which then shows. So are the folders that they are
in: git does not look behind a link. A file that was written just before the note could be written again within the same
tick of the clock: then nothing is noted. Where this cannot tell (many files, an index of another kind, one that lists
only what differs from a shared one) the answer is None, and git is asked. Never fails.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from pathlib import Path

from haikud.workspace.files import read_small

_MOST_FILES = 1_000
_LARGEST_INDEX = 262_144
_TICK_NS = 20_000_000
"""Longer than the kernel's clock for files stands still."""

_HEAD = struct.Struct(">4sII")
_EXTENSION = struct.Struct(">4sI")
_BEFORE_ID = 40  # times, device, inode, mode, owner, size
_MODE_AT = 24
_EXTENDED = 0x40  # of the flags' first byte
_FOLDER_MODE = 0o040000

State = tuple[int, ...]


def note_files(top: str, git_dir: str, id_bytes: int) -> dict[str, State] | None:
    """The path of each tracked file and of its folders, and what would change with it.

    `id_bytes`: of an object's id, 20 or 32.
    """
    names = _names_in(read_small(Path(git_dir) / "index", _LARGEST_INDEX), id_bytes)
    if names is None:
        return None
    latest = time.time_ns() - _TICK_NS
    found = {path: _state(path) for path in (f"{top}/{name}" for name in (*names, *_folders_of(names)))}
    return None if any(times > latest for state in found.values() for times in state[2:4]) else found


def is_as_noted(noted: dict[str, State]) -> bool:
    """Whether all of them are the same still."""
    return all(_state(path) == state for path, state in noted.items())


def _state(path: str) -> State:
    try:
        facts = os.lstat(path)
    except (OSError, ValueError):
        return ()
    if stat.S_ISDIR(facts.st_mode):  # what else is put into it is nobody's business
        return (facts.st_ino, facts.st_mode)
    return (facts.st_ino, facts.st_mode, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)


def _folders_of(names: list[str]) -> set[str]:
    folders: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _names_in(index: bytes | None, id_bytes: int) -> list[str] | None:
    """The paths in an index of version 2 or 3, in which each is written out."""
    if index is None or len(index) < _HEAD.size:
        return None
    magic, version, count = _HEAD.unpack_from(index)
    if magic != b"DIRC" or version not in {2, 3} or count > _MOST_FILES:
        return None
    names, at = [], _HEAD.size
    for _ in range(count):
        flags_at = at + _BEFORE_ID + id_bytes
        is_extended = any(byte & _EXTENDED for byte in index[flags_at : flags_at + 1])
        name_at = flags_at + (4 if is_extended else 2)
        end = index.find(b"\0", name_at)
        if end < 0 or int.from_bytes(index[at + _MODE_AT : at + _MODE_AT + 4], "big") == _FOLDER_MODE:
            return None  # cut off; or a sparse index, where a folder stands for its files
        names.append(os.fsdecode(index[name_at:end]))
        at += (end - at + 8) // 8 * 8  # one to eight NUL bytes end an entry
    return None if _needs_more(index[at:-id_bytes]) else names


def _needs_more(extensions: bytes) -> bool:
    """Whether one is among them that nobody may pass over: what the entries say is then not all there is."""
    at = 0
    while at + _EXTENSION.size <= len(extensions):
        signature, size = _EXTENSION.unpack_from(extensions, at)
        if not signature[:1].isupper():
            return True
        at += _EXTENSION.size + size
    return False
