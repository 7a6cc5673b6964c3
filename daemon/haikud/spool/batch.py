"""Durable changes that are made together, in two rounds of fsyncs side by side however many they are.

First everything that names will lead to: files, and folders that nobody knows of yet. Then the names are put, in order,
and the folders that hold them are fsynced. Between the rounds lies the commit: what is named in the second was durable
before.

A file of which every reader leaves alone what is not whole may have its name from the first round on (`early`): it is
durable with its name when that round is over, and holds then, whatever becomes of the second (`commit_early`).

Fails with an OSError that names the path. A failed commit takes back files and links made ahead, new names and renames;
what has replaced something stays, and so do folders, for the caller's own undoing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from haikud.spool.durable import (
    LINK_REFUSED,
    begin_write_back,
    doing,
    put_without_replacing,
    temporary_beside,
    write_all,
    write_temporary,
)
from haikud.spool.syncing import sync_all


class Batch:
    """See the module's head. Used once: `commit` or `discard` ends it."""

    def __init__(self) -> None:
        self._names: list[tuple[str, Path, Path]] = []  # how, from, name
        self._temporaries: list[Path] = []
        self._second_names: list[Path] = []  # of temporaries, temporary as well
        self._early: list[tuple[str, Path, Path]] = []  # names that are put before the first round
        self._tried: list[tuple[str, Path, Path]] = []  # names that may be refused, each by itself
        self._is_half_done = False  # the first round is over
        self.refused: set[Path] = set()  # of these, when the batch is committed: those that could not be put
        self._ahead: list[Path] = []  # what has its own name already
        self._files_ahead: list[Path] = []  # of these the files
        self._first: dict[Path, None] = {}  # folders to be fsynced with the files
        self._second: dict[Path, None] = {}  # folders to be fsynced when the names are put
        self._asked: dict[Path, Callable[[], object] | None] = {}  # folders to be durable before any name is put

    def make_folder(self, path: Path, mode: int = 0o700) -> None:
        """Make a folder now; FileExistsError where it is there."""
        with doing("make the folder", path):
            path.mkdir(mode=mode)
        self._first[path] = None
        self._first[path.parent] = None

    def write(
        self, path: Path, data: bytes, mode: int = 0o600, *, also: Iterable[Path] = (), early: bool = False
    ) -> None:
        """A file, written now under a dot-name, named at the commit (replacing what is there).

        `also`: more names for it; where the filesystem refuses hard links, files of the same content. `early`: see the
        module's head.
        """
        with doing("write", path):
            temporary = write_temporary(path, data, mode, sync=False, write_back=True)
        self._temporaries.append(temporary)
        self._name("rename", temporary, path, early=early)
        for other in also:
            second = temporary_beside(other)
            with doing("link", other):
                try:
                    os.link(temporary, second, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in LINK_REFUSED:
                        raise
                    self.write(other, data, mode, early=early)
                    continue
            self._second_names.append(second)
            self._name("rename", second, other, early=early)

    def _name(self, how: str, source: Path, path: Path, *, early: bool) -> None:
        if early:
            self._early.append((how, source, path))
        else:
            self._names.append((how, source, path))
            self._second[path.parent] = None

    def write_ahead(self, path: Path, data: bytes, mode: int = 0o600, *, sync: bool = True) -> None:
        """A new file under its own name, now: in a folder of which nobody knows before the commit names it.

        `sync` False: of what it holds nothing need last.
        """
        with doing("write", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            self._ahead.append(path)
            try:
                write_all(descriptor, data)
                if data and sync:
                    begin_write_back(descriptor)
            finally:
                os.close(descriptor)
        if data and sync:  # an empty one is its name, which the folder's fsync makes durable
            self._files_ahead.append(path)
        self._first[path.parent] = None

    def symlink_ahead(self, target: str, path: Path) -> None:
        """A symlink, now, in place of what has the name: it may dangle until the commit."""
        with doing("symlink", path):
            try:
                path.symlink_to(target)
            except FileExistsError:
                path.unlink()
                path.symlink_to(target)
        self._ahead.append(path)
        self._first[path.parent] = None

    def rename(self, source: Path, target: Path) -> None:
        """A rename at the commit."""
        self._names.append(("rename", source, target))
        self._second[source.parent] = None
        self._second[target.parent] = None

    def write_new(self, path: Path, data: bytes, mode: int = 0o600, *, early: bool = False) -> None:
        """As `write`, but the commit raises FileExistsError where `path` is there by then: it replaces nothing."""
        with doing("write", path):
            temporary = write_temporary(path, data, mode, sync=False, write_back=True)
        self._temporaries.append(temporary)
        self._name("name", temporary, path, early=early)

    def try_link(self, source: Path, path: Path) -> None:
        """A second name at the commit for what is durable by then; where that is refused, `path` is in `refused`."""
        self._tried.append(("link", source, path))

    def try_rename(self, source: Path, path: Path) -> None:
        """As `rename`; where that is refused, `path` is in `refused`, and all else goes on."""
        self._tried.append(("rename", source, path))

    def sync_folder(self, path: Path, undo: Callable[[], object] | None = None) -> None:
        """Have the names in a folder durable before any name of this batch is put.

        `undo` takes those names back; it is called where an fsync has failed that may have been this folder's.
        """
        self._asked[path] = undo

    def commit_early(self) -> None:
        """The first round. What has its name from then on holds; the names of the second come with `commit`."""
        put: list[tuple[str, Path, Path]] = []
        undo = [one for one in self._asked.values() if one is not None]
        try:
            for how, source, path in self._early:
                with doing(how, path):
                    _put(how, source, path)
                put.append((how, source, path))
            sync_all([*self._files_of_first_round(), *self._folders_of_first_round()])
        except OSError:
            for _, _, path in reversed(put):
                with suppress(OSError):
                    path.unlink()
            for take_back in undo:
                take_back()
            self.discard()
            raise
        gone = {source for how, source, _ in put if how == "rename"}
        self._temporaries = [one for one in self._temporaries if one not in gone]
        self._second_names = [one for one in self._second_names if one not in gone]
        self._early, self._is_half_done = [], True

    def _files_of_first_round(self) -> list[Path]:
        early = {source: path for _, source, path in self._early}  # by now under these names
        return [*(early.get(one, one) for one in self._temporaries), *self._files_ahead]

    def _folders_of_first_round(self) -> dict[Path, None]:
        later = (folder for folder in self._first if folder not in self._second)
        return dict.fromkeys([*self._asked, *(path.parent for _, _, path in self._early), *later])

    def commit(self) -> None:
        """Make it all durable."""
        if not self._is_half_done:
            self.commit_early()
        put: list[tuple[str, Path, Path]] = []
        try:
            for how, source, path in self._names:
                with doing(how, path):
                    _put(how, source, path)
                put.append((how, source, path))
            folders = dict(self._second)
            for how, source, path in self._tried:
                try:
                    _put(how, source, path)
                except OSError:
                    self.refused.add(path)
                    continue
                put.append((how, source, path))
                folders[path.parent] = None
                if how == "rename":
                    folders[source.parent] = None
            sync_all(folders)
            self._ahead = []
        except OSError:
            self._take_back(put)
            raise
        finally:
            self.discard()

    def _take_back(self, put: list[tuple[str, Path, Path]]) -> None:
        """What is not known to be durable has not happened, so that the next try may name it anew."""
        for how, source, path in reversed(put):
            if how in {"name", "link"}:
                with suppress(OSError):
                    path.unlink()
            elif how == "rename" and source not in self._temporaries and source not in self._second_names:
                try:
                    path.rename(source)
                except OSError:
                    self._ahead = []  # it has its name after all: what leads to it stays

    def discard(self) -> None:
        """Take back what is not committed."""
        for path in (*self._temporaries, *self._second_names, *self._ahead):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._names, self._temporaries, self._ahead, self._files_ahead = [], [], [], []
        self._second_names, self._early, self._tried = [], [], []
        self._first, self._second, self._asked = {}, {}, {}


def _put(how: str, source: Path, path: Path) -> None:
    if how == "rename":
        source.rename(path)
    elif how == "name":
        put_without_replacing(source, path)
    else:
        os.link(source, path, follow_symlinks=False)
