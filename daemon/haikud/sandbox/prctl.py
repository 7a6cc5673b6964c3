"""Settings of our own process that Python has no call for; ctypes and nothing else, so that a boot can use it.

Linux only. Those of prctl raise OSError where the kernel refuses.
"""

from __future__ import annotations

import ctypes
import functools
import os
from contextlib import suppress

OOM_SCORE = 300
"""Of an attempt's processes, from 0 to 1000: 300 is as if they held 30 % of all memory more."""

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


def become_subreaper() -> None:
    """Orphans among our descendants become our children, not those of process 1: so none can hide from us."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def cease_as_subreaper() -> None:
    """As before `become_subreaper`. Children that were adopted meanwhile stay ours."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def is_subreaper() -> bool:
    """Whether this process is a subreaper."""
    answer = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer))
    return answer.value == 1


def make_undumpable() -> None:
    """Other processes of our user can no longer read our memory and environment (root still can)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def offer_to_oom_killer() -> None:
    """Where memory is short, we and what we start go before the daemon does: an attempt can be begun again.

    Best effort; whoever is offered already stays so.
    """
    with suppress(OSError, ValueError):
        score = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            if int(os.read(score, 16)) < OOM_SCORE:
                os.pwrite(score, b"%d" % OOM_SCORE, 0)
        finally:
            os.close(score)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    if _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
