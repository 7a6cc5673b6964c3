"""The names that a scan has given to what it took, until they are durable.

Nothing may be done about a taken file before its taken name is: a power cut would bring the old name back, and the
same drop would be taken a second time under another token. Whoever acts makes the names durable himself
(`make_durable`), or has a batch do it (`Batch.sync_folder(path, undo=names.give_back)`, then `are_durable`).

A failed fsync is never merely repeated: the files get their old names back, and are taken anew. What cannot get its
name back is owed to the next scan.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from haikud.spool.durable import fsync_folder
from haikud.spool.renaming import rename_without_replacing
from haikud.spool.taken import OddEntry, Taken


class NewNames:
    """See the module's head. Not thread-safe, as little as its folder is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given: list[Taken | OddEntry] = []
        self._owed: list[Taken | OddEntry] = []
        self._given_back: set[str] = set()

    @property
    def are_owed(self) -> bool:
        """Whether any name is not known to be durable."""
        return bool(self._given)

    @property
    def have_gone_back(self) -> bool:
        """Whether there is any that `given_back` would name."""
        return bool(self._given_back)

    def add(self, taken: Iterable[Taken | OddEntry]) -> None:
        """These were renamed just now."""
        self._given += taken

    def make_durable(self) -> None:
        """On return they are. Raises OSError, and has given them back then."""
        if self._given:
            self.sync()

    def sync(self) -> None:
        """Fsync the folder, whatever was renamed there. Raises OSError, and has given back what was not durable."""
        try:
            fsync_folder(self._folder)
        except OSError:
            self.give_back()
            raise
        self.are_durable()

    def are_durable(self) -> None:
        """The folder was fsynced since they were given."""
        self._given.clear()

    def give_back(self) -> None:
        """Give the files their old names again."""
        self._owed += [one for one in self._given if not put_back(one.path, self._folder / one.name)]
        self._given_back |= {one.token for one in self._given}
        self._given.clear()

    def given_back(self) -> set[str]:
        """The tokens that hold no longer since the last call: nothing may be done about those."""
        tokens, self._given_back = self._given_back, set()
        return tokens

    def owed(self) -> list[Taken | OddEntry]:
        """What the next scan has to bring."""
        owed, self._owed = self._owed, []
        return owed


def put_back(path: Path, name: Path) -> bool:
    """Undo a taking; False where the name is in use again, or what was taken is no file."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        rename_without_replacing(path, name)
    except OSError:
        return False
    return True
