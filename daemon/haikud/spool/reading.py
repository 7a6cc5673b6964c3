"""Reading what someone untrusted wrote, such as an agent in its `out/`.

Promises: never follows a symlink, never blocks on a FIFO, never opens a device for effect, never reads more than was
allowed. Fails with UntrustedFile, which says why in words; `missing` tells the harmless case.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_OF_THE_MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class UntrustedFile(Exception):  # noqa: N818 - reads as what it is
    """A file that may not be read, or that is not there."""

    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.missing = missing


def open_untrusted(path: Path) -> int:
    """A descriptor of a regular file, opened without following, blocking or waiting; UntrustedFile otherwise.

    OSError where the machine has no descriptor or memory left: that says nothing of the file.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        if error.errno in {errno.ELOOP, errno.EMLINK}:
            raise UntrustedFile(f"{path.name!r} is a symlink") from error
        if error.errno == errno.ENXIO:
            raise UntrustedFile(f"{path.name!r} is a socket or a device, not a regular file") from error
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        raise UntrustedFile(f"{path.name!r} cannot be opened: {error.strerror}", missing=missing) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UntrustedFile(f"{path.name!r} is not a regular file")
    return descriptor


def read_at_most(descriptor: int, most: int) -> bytes:
    """Up to `most` bytes from the start of a file, whatever its size says."""
    pieces: list[bytes] = []
    offset = 0
    while offset < most:
        piece = os.pread(descriptor, min(most - offset, 1 << 20), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def read_untrusted(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file of at most `max_bytes`; UntrustedFile for anything else, a missing file too."""
    descriptor = open_untrusted(path)
    try:
        data = read_at_most(descriptor, max_bytes + 1)
    except OSError as error:
        raise UntrustedFile(f"{path.name!r} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise UntrustedFile(f"{path.name!r} is larger than {max_bytes} bytes")
    return data


def holds(path: Path, content: bytes) -> bool:
    """Whether that is a regular file with just this content."""
    try:
        return read_untrusted(path, len(content)) == content
    except UntrustedFile:
        return False
