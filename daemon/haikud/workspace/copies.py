"""Files that are not in git and that a worktree needs all the same, such as `.env`.

Copied from the checkout, never over a file that is there, never a tracked one, and never through a symlink: neither
out of the checkout nor out of the worktree. Fails with `WorkspaceError` where a name is not a path beneath both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from haikud.workspace.checks import find_entry
from haikud.workspace.git import Git, WorkspaceError


def copy_files(repository_top: str | Path, worktree: str | Path, names: Iterable[str]) -> list[str]:
    """Copy files from the checkout's top into the worktree; those of `names` that are now there as copies.

    A name is a relative path of a file. What an earlier attempt copied is left as it is and named again; a file that
    is tracked, or that the checkout does not have, is left out. The result is what must be kept out of commits.
    """
    top, worktree = Path(repository_top), Path(worktree)
    wanted = [_checked(name) for name in names]
    tracked = _tracked(top, worktree, wanted) if wanted else set()
    return [name for name in wanted if name not in tracked and _copy(top, worktree, name)]


def copy_into(repository_top: str | Path, folder: str | Path, names: Iterable[str]) -> list[str]:
    """The same into a folder that is no worktree of git's, and holds the tracked files already."""
    top, folder = Path(repository_top), Path(folder)
    missing = [name for name in map(_checked, names) if not os.path.lexists(folder / name)]
    return [name for name in missing if _copy(top, folder, name)]


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or ".git" in path.parts or "\0" in name:
        raise WorkspaceError(f"copy_files: {name!r} is not the path of a file beneath the checkout")
    return str(path)


def _tracked(top: Path, worktree: Path, names: list[str]) -> set[str]:
    common = Git(None, cwd=str(top)).line("rev-parse", "--path-format=absolute", "--git-common-dir")
    entry = find_entry(common, worktree)
    if entry is None:
        raise WorkspaceError(f"git does not know the worktree {worktree}")
    literal = [f":(literal){name}" for name in names]
    return {os.fsdecode(path) for path in Git(entry, worktree).names("ls-files", "-z", "--", *literal)}


def _copy(top: Path, worktree: Path, name: str) -> bool:
    source = top / name
    if not Path(os.path.realpath(source)).is_relative_to(os.path.realpath(top)):
        raise WorkspaceError(f"copy_files: {source} leads out of the checkout")
    try:
        source_fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    facts = os.fstat(source_fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(source_fd)
        raise WorkspaceError(f"copy_files: {source} is not a file")
    with os.fdopen(source_fd, "rb") as original:
        *folders, last = PurePosixPath(name).parts
        with _folder_beneath(worktree, folders) as folder_fd:
            temporary = f".{last}.haikud-copy"
            with contextlib.suppress(FileNotFoundError):  # of an attempt that was killed here
                os.unlink(temporary, dir_fd=folder_fd)
            if _is_there(last, folder_fd):
                return True
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target_fd = os.open(temporary, flags, facts.st_mode & 0o777, dir_fd=folder_fd)
            with os.fdopen(target_fd, "wb") as copy:
                shutil.copyfileobj(original, copy)
            try:  # a whole file or none, and never over another
                os.link(temporary, last, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
            except FileExistsError:
                return True
            finally:
                os.unlink(temporary, dir_fd=folder_fd)
    return True


@contextlib.contextmanager
def _folder_beneath(root: Path, parts: list[str]) -> Iterator[int]:
    """A descriptor of a folder beneath `root`, made where it is missing; no part of it is a symlink."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(root, flags)
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o777, dir_fd=fd)
            try:
                beneath = os.open(part, flags, dir_fd=fd)
            except OSError as error:
                raise WorkspaceError(f"copy_files: {part} in {root} is not a folder") from error
            os.close(fd)
            fd = beneath
        yield fd
    finally:
        os.close(fd)


def _is_there(name: str, folder_fd: int) -> bool:
    try:
        os.lstat(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return False
    return True
