"""Renaming without replacing, in one step where the kernel can (renameat2), else by looking first.

Promises: what has the new name already stays; FileExistsError then. Between the two ways only a crash can tell: the
second has a moment in which a file has both names. Fails with OSError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from pathlib import Path

_AT_FDCWD = -100
_NOREPLACE = 1
_NOT_KNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def rename_without_replacing(source: Path, target: Path) -> None:
    """Give `source` (a file, a folder, anything) the name `target` on the same filesystem."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        sys.audit("os.rename", str(source), str(target), -1, -1)  # as os.rename says it
        if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_KNOWN:
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    _look_and_rename(source, target)


def _look_and_rename(source: Path, target: Path) -> None:
    if stat.S_ISREG(source.lstat().st_mode):
        os.link(source, target, follow_symlinks=False)
        source.unlink()
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(target))
    source.rename(target)
