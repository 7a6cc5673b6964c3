"""What git leaves in the page cache is made durable here, before anything is said that rests on it.

With `core.fsync=all` git syncs the content of what it writes, and of the folders that hold the names nothing; a
worktree's registration and its files it does not sync at all. Without more, a power cut after a `result.json` that is
durable leaves empty objects, a branch that names nothing, and worktrees that git no longer knows. Seen on ext4 and
xfs, see tests/crash/power_cut.py.

Promises: after `sync_branch` the branch's own commits and its name are on the disk; after `sync_filesystem`
everything that was written before the call is. Fails with OSError: then nothing is promised.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.files import is_folder, is_there, read_small, sync_folder
from haikud.workspace.git import Git, as_text

_MOST_FILES = 200
"""With more changed files than this, one flush of the filesystem is quicker."""


def boot_id() -> str | None:
    """This boot of the machine; None where the kernel does not say, or no descriptor is left to ask it with."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def sync_filesystem(path: str | Path) -> None:
    """Wait until all that was written to the filesystem of `path` is on its disk (syncfs(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(ctypes.c_int(descriptor)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot sync the filesystem: {os.strerror(number)}", str(path))
    finally:
        os.close(descriptor)


def sync_worktree(order: WorkspaceOrder) -> None:
    """A new worktree, its registration and its branch: once for a task, so that a flush of it all is right."""
    sync_filesystem(order.worktree)
    if Path(order.worktree).stat().st_dev != Path(order.git_common_dir).stat().st_dev:
        sync_filesystem(order.git_common_dir)


def sync_branch(order: WorkspaceOrder, start: str, changed: list[bytes] | None = None) -> None:
    """The names of the branch and of the objects that it has beyond `start`; their contents git itself has synced.

    And the files of the worktree that it changed: else they could be empty beside a commit that has them. `changed`
    are their names, where the caller knows them.
    """
    common = Path(order.git_common_dir)
    branch = f"refs/heads/{order.branch}"
    new = Git(common).run("rev-list", "--objects", "--no-object-names", branch, f"^{start}").split()
    objects = common / "objects"
    for prefix in sorted({sha[:2] for sha in new}):
        _sync_if_there(objects / prefix)
    _sync_if_there(objects / "pack")
    _sync_if_there(objects)
    _sync_up(common / branch, common)
    if changed is None:
        changed = Git(common).names("diff-tree", "-r", "-z", "--name-only", start, branch)
    _sync_files(Path(order.worktree), changed)


def sync_ref(git_common_dir: str | Path, name: str) -> None:
    """The name of a ref; its content git itself has synced."""
    common = Path(git_common_dir)
    _sync_up(common / name, common)


def _sync_files(worktree: Path, names: list[bytes]) -> None:
    if not is_folder(worktree):  # somebody has removed it
        return
    if len(names) > _MOST_FILES:
        sync_filesystem(worktree)
        return
    folders: set[Path] = set()
    for name in names:
        path = worktree / os.fsdecode(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # removed, a link, or the agent's doing: git has what counts
            continue
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
                folders.add(path.parent)
        finally:
            os.close(descriptor)
    for folder in sorted(folders):
        _sync_if_there(folder)


def _sync_up(path: Path, top: Path) -> None:
    """The folders above a path, up to `top`."""
    for folder in path.parents:
        _sync_if_there(folder)
        if folder == top:
            return


def _sync_if_there(folder: Path) -> None:
    if is_folder(folder):
        sync_folder(folder)


def drop_broken_branch(order: WorkspaceOrder) -> None:
    """Remove a branch file that a power cut left empty. It never named anything."""
    path = Path(order.git_common_dir) / "refs" / "heads" / order.branch
    if not says_nothing(path):
        return
    path.unlink()
    log = Path(order.git_common_dir) / "logs" / "refs" / "heads" / order.branch
    if says_nothing(log):
        log.unlink()


def is_broken_entry(entry: Path) -> bool:
    """Whether git's entry of a worktree names none: begun and not finished, or emptied by a power cut."""
    return is_folder(entry) and (not is_there(entry / "gitdir") or says_nothing(entry / "gitdir"))


def says_nothing(file: Path) -> bool:
    """Whether it is a file, and holds nothing but what a power cut leaves."""
    data = read_small(file)
    return data is not None and not data.strip(b"\0 \n")


def mend_files(git: Git) -> list[str]:
    """Put back the files that a power cut emptied; their names.

    An agent's edits are not synced one by one. A file that has content in the index and none, or nothing but NUL bytes,
    in the worktree is what the filesystem made of them: nobody's work.
    """
    changed = git.names("diff-files", "-z", "--name-only", "--diff-filter=M", "--ignore-submodules=all")
    root = Path(str(git.work_tree))
    emptied = [name for name in changed if _is_emptied(git, root, name)]
    if emptied:
        git.run("checkout-index", "--force", "-z", "--stdin", stdin=b"".join(name + b"\0" for name in emptied))
    return [as_text(name) for name in emptied]


def _is_emptied(git: Git, root: Path, name: bytes) -> bool:
    path = root / os.fsdecode(name)
    try:
        if path.is_symlink() or _has_content(path):
            return False
    except OSError:
        return False
    return git.ask("cat-file", "-s", f":{os.fsdecode(name)}", ok=None).text.strip() != "0"


def _has_content(path: Path) -> bool:
    with path.open("rb") as file:
        return any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 16), b""))
