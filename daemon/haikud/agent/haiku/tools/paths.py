"""Opening files beneath the worktree and nowhere else.

Promises: whatever path the model gives, nothing outside the worktree is opened, made or changed: not through `..`,
not through a symlink, not through a folder swapped at the wrong moment. The kernel sees to it where it has openat2
(RESOLVE_BENEATH); elsewhere each component is opened by itself with O_NOFOLLOW, and a symlink on the way is refused.
`.git` is refused at every depth: hooks and settings of git run with the runner's rights.

Fails with BadInput for the model, and with OSError where the system refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from haikud.agent.haiku.tools.outcome import BadInput

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_BENEATH = 0x08
_RESOLVE_NO_MAGICLINKS = 0x02
_NOT_THERE = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})  # an old kernel; a seccomp filter in a container
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_GIT_REFUSED = "belongs to git's own files: use git commands in the shell instead."
_TRIES = 8
"""openat2 asks to be tried again where a rename happened meanwhile."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Beneath:
    """A worktree, as the only place where files are."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._has_openat2 = self._probe()

    @property
    def uses_openat2(self) -> bool:
        """Whether the kernel does the checking."""
        return self._has_openat2

    def relative(self, path: str) -> PurePosixPath:
        """The path relative to the worktree; BadInput where it lies outside or in `.git`."""
        if "\0" in path:
            raise BadInput("a path cannot contain a NUL character.")
        whole = PurePosixPath(os.path.normpath(self._root / path))
        for root in (self._root, self._real_root):
            if whole.is_relative_to(root):
                relative = whole.relative_to(root)
                break
        else:
            raise BadInput(f"{path} lies outside the worktree {self._root}: only files beneath it can be used.")
        if _touches_git(relative):
            raise BadInput(f"{path} {_GIT_REFUSED}")
        return relative

    @contextlib.contextmanager
    def opened(self, relative: PurePosixPath, flags: int, mode: int = 0o666) -> Iterator[int]:
        """A descriptor of the file or folder, closed afterwards."""
        descriptor = self._open(relative, flags, mode)
        try:
            self._refuse_git(descriptor, relative)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_folder(self, relative: PurePosixPath) -> bool:
        """Whether the path is a folder; OSError where it is not there."""
        with self.opened(relative, os.O_PATH) as descriptor:
            return stat.S_ISDIR(os.fstat(descriptor).st_mode)

    def read(self, relative: PurePosixPath, most: int) -> bytes:
        """The bytes of a regular file of at most `most` bytes; BadInput for anything else."""
        with self.opened(relative, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as descriptor:
            self._require_file(descriptor, relative)
            with open(descriptor, "rb", closefd=False) as stream:
                data = stream.read(most + 1)
        if len(data) > most:
            raise BadInput(f"{relative} is larger than {most} bytes: look at parts of it in the shell (sed -n, head).")
        return data

    def write(self, relative: PurePosixPath, data: bytes) -> bool:
        """Put `data` into a file, made with its folders where it is missing; whether it is new.

        In place, so that its mode, links and owner stay as they are.
        """
        self._make_folders(relative.parent)
        with self.opened(relative.parent, os.O_PATH):
            pass  # only to see that it is no way into .git, before anything is made there
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        try:
            with self.opened(relative, flags) as descriptor:
                self._fill(descriptor, relative, data)
        except FileNotFoundError:
            with self.opened(relative, flags | os.O_CREAT) as descriptor:
                self._fill(descriptor, relative, data)
            return True
        return False

    def _fill(self, descriptor: int, relative: PurePosixPath, data: bytes) -> None:
        self._require_file(descriptor, relative)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, len(data))

    def _make_folders(self, relative: PurePosixPath) -> None:
        for folder in [*reversed(relative.parents), relative]:
            try:
                with self.opened(folder, _FOLDER):
                    continue
            except FileNotFoundError:
                with self.opened(folder.parent, _FOLDER) as parent, contextlib.suppress(FileExistsError):
                    os.mkdir(folder.name, dir_fd=parent)

    def _require_file(self, descriptor: int, relative: PurePosixPath) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInput(f"{relative} is not a regular file.")

    def _refuse_git(self, descriptor: int, relative: PurePosixPath) -> None:
        """A symlink may lead where the path itself does not."""
        real = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not real.is_relative_to(self._real_root):
            raise BadInput(f"{relative} lies outside the worktree.")
        if _touches_git(PurePosixPath(real.relative_to(self._real_root))):
            raise BadInput(f"{relative} {_GIT_REFUSED}")

    def _open(self, relative: PurePosixPath, flags: int, mode: int) -> int:
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            how = flags | os.O_CLOEXEC
            if self._has_openat2:
                return self._openat2(root, relative, how, mode)
            return _walk(root, relative, how, mode)
        except OSError as error:
            if error.errno in {errno.EXDEV, errno.ELOOP}:
                raise BadInput(
                    f"{relative} leads outside the worktree through a symlink: it cannot be used."
                ) from error
            raise
        finally:
            os.close(root)

    def _openat2(self, root: int, relative: PurePosixPath, flags: int, mode: int) -> int:
        how = _OpenHow(flags, mode if flags & os.O_CREAT else 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(str(relative))
        for _ in range(_TRIES):
            descriptor = self._libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(root),
                ctypes.c_char_p(name),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if descriptor >= 0:
                return int(descriptor)
            number = ctypes.get_errno()
            if number not in {errno.EAGAIN, errno.EINTR}:
                break
        raise OSError(number, os.strerror(number), str(relative))

    def _probe(self) -> bool:
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(self._openat2(root, PurePosixPath(), os.O_PATH | os.O_CLOEXEC, 0))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return False
            raise
        finally:
            os.close(root)
        return True


def _touches_git(relative: PurePosixPath) -> bool:
    return any(part.lower() == ".git" for part in relative.parts)


def _walk(root: int, relative: PurePosixPath, flags: int, mode: int) -> int:
    """Open component by component; a symlink anywhere raises ELOOP."""
    *folders, name = relative.parts or (".",)
    at = os.dup(root)
    try:
        for folder in folders:
            step = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = step
            _refuse_symlink(os.fstat(at), relative)  # O_PATH with O_NOFOLLOW opens the symlink itself
        with contextlib.suppress(FileNotFoundError):  # which O_CREAT may mend
            _refuse_symlink(os.stat(name, dir_fd=at, follow_symlinks=False), relative)
        descriptor = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=at)
    finally:
        os.close(at)
    try:
        _refuse_symlink(os.fstat(descriptor), relative)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_symlink(found: os.stat_result, relative: PurePosixPath) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(relative))
