"""A heap that is cheap to fork: frozen, without gaps, and on large pages where the kernel has them.

Forking copies the table of all pages, and each child's end takes its copy down again: for eighty megabytes in pages of
4 KiB that is ten milliseconds of processor time, for the same on pages of 2 MiB four. Where the kernel knows no
MADV_COLLAPSE (before 6.1) or has no large pages, all stays as it is.

What a child writes to is copied by 4 KiB all the same. A new object goes into the next gap between old ones, and a
child that makes a hundred of them would copy a hundred pages: so the gaps are filled, and its objects lie together.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LARGE = 2 * 1024 * 1024
_MADV_COLLAPSE = 25  # linux/mman.h
_HEAP = "[heap]"

_MOST_SMALL = 512  # bytes of an object that Objects/obmalloc.c keeps in pools of one size, in steps of 16
_STEP = 16
_ROW = 24
_MOST_OBJECTS = 2000
_FILLING: list[object] = []
"""What fills the gaps, for good."""


def prepare_to_fork() -> None:
    """Collect what is garbage, let the collector forget the rest, and put it on large pages. gc is off afterwards.

    It stays off until a runner turns it on: a collection would write to every page, and so copy it.
    """
    gc.disable()
    gc.collect()
    gc.freeze()
    _FILLING.extend(_fill_gaps())
    with suppress(OSError, ValueError):
        _collapse()


def _fill_gaps() -> Iterator[object]:
    """Objects of each size, until they come to lie side by side: then the gaps of that size are full."""
    for size in range(_STEP, _MOST_SMALL + 1, _STEP):
        last, row = 0, 0
        for _ in range(_MOST_OBJECTS):
            made = _object_of(size)
            yield made
            row = row + 1 if id(made) == last + size else 0
            if row == _ROW:
                break
            last = id(made)


def _object_of(size: int) -> object:
    """One that no collector counts, of so many bytes."""
    if size == _STEP:
        return object()
    return size << 40 if size == 2 * _STEP else bytes(size - sys.getsizeof(b""))


def _collapse() -> None:
    madvise = ctypes.CDLL(None).madvise
    for start, end in _own_memory():
        for place in range(start + -start % _LARGE, end - _LARGE + 1, _LARGE):
            madvise(ctypes.c_void_p(place), ctypes.c_size_t(_LARGE), ctypes.c_int(_MADV_COLLAPSE))  # at its best


def _own_memory() -> Iterator[tuple[int, int]]:
    """Where this process may write to memory that is no file's."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        place, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights == "rw-p" and name in ([], [_HEAP]):
            start, end = (int(address, 16) for address in place.split("-"))
            yield start, end
