"""The pages that a runner writes to, copied for it before it has an order.

A forked process shares its parent's memory, and each page that it writes to is copied then: some 4 us, a thousand times
in a short attempt. Which pages these are is the same from one runner to the next, for all of them are forked from the
same memory: so one attempt is rehearsed in a child, which then tells them by the kernel's own account, and a spare has
them copied by one or two system calls while nobody waits for it.

Where the kernel does not know that (before 6.13), or does not say which pages those are, nothing is told or copied, and
all is as right as ever: the first write copies.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from haikud.spool.durable import write_all

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PRESENT, _OURS_ALONE = 1 << 63, 1 << 56  # Documentation/admin-guide/mm/pagemap.rst
_ENTRY = 8

_PROCESS_MADVISE = 440  # asm-generic/unistd.h
_MADV_POPULATE_WRITE = 23  # linux/mman.h
_MOST_AT_ONCE = 1024  # UIO_MAXIOV

_PART = 65_536


class OwnPages:
    """Stretches of memory, each an address and a length: what `struct iovec` is."""

    def __init__(self, stretches: array[int] | None = None) -> None:
        self._stretches = stretches if stretches is not None else array("Q")

    def __len__(self) -> int:
        """How many stretches."""
        return len(self._stretches) // 2

    def copy(self) -> bool:
        """Have each of them to ourselves now; whether that was done."""
        place, left = self._stretches.buffer_info()[0], len(self)
        if not left:
            return False
        try:
            myself = os.pidfd_open(os.getpid())
        except OSError:
            return False
        try:
            while left > 0:
                number, parts = min(left, _MOST_AT_ONCE), ctypes.c_void_p(place)
                advice = ctypes.c_long(_MADV_POPULATE_WRITE)
                if _libc.syscall(_PROCESS_MADVISE, myself, parts, ctypes.c_long(number), advice, ctypes.c_long(0)) < 0:
                    return False
                place, left = place + 2 * _ENTRY * number, left - number
        finally:
            os.close(myself)
        return True


def learn(live: Callable[[], object]) -> OwnPages:
    """The pages that a forked process has written to once it has done `live`. For a process with a single thread."""
    told, tell = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(told)
        os.close(tell)
        return OwnPages()
    if pid == 0:
        code = 1
        try:
            with suppress(Exception):  # whatever it is, a runner will meet it and say so
                ours = list(_writable())  # what is mapped from here on is no other process's
                # Opened before: a runner makes itself undumpable, and its own account of its pages is root's then.
                pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
                live()
                write_all(tell, array("Q", _written_to(ours, pagemap)).tobytes())
                code = 0
        finally:
            os._exit(code)
    os.close(tell)
    data = b""
    while part := os.read(told, _PART):
        data += part
    os.close(told)
    _, status = os.waitpid(pid, 0)
    return OwnPages(array("Q", data)) if status == 0 else OwnPages()  # it was killed, maybe in the midst of telling


def _writable() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        place, rights = line.split(maxsplit=2)[:2]
        if rights == b"rw-p":
            start, _, end = place.partition(b"-")
            yield int(start, 16), int(end, 16)


def _written_to(places: list[tuple[int, int]], pagemap: int) -> Iterator[int]:
    """Address and length of each stretch of pages that are ours alone."""
    for start, end in places:
        entries = array("Q", os.pread(pagemap, (end - start) // _PAGE * _ENTRY, start // _PAGE * _ENTRY))
        began = None
        for number, entry in enumerate([*entries, 0]):
            is_ours = entry & _PRESENT and entry & _OURS_ALONE
            if is_ours and began is None:
                began = number
            elif not is_ours and began is not None:
                yield start + began * _PAGE
                yield (number - began) * _PAGE
                began = None


_libc = ctypes.CDLL(None)
