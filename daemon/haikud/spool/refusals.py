"""What the machine may refuse whoever asks, and for a while only: room, descriptors, processes, memory, a healthy disk.

A refusal says nothing about the work that met it, so it is never counted against a task. Only the standard library is
imported here: a runner uses this room before it imports anything else.
"""

from __future__ import annotations

import errno
import os
import re

REFUSALS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,  # a limit on the size of files (ulimit -f)
        errno.EROFS,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,  # of fork: no process is left
        errno.ENOMEM,
        errno.EIO,
    }
)
"""Error numbers that mean the machine."""

_WORDS = re.compile(
    rf"(?:^|: )({'|'.join(re.escape(os.strerror(number)) for number in sorted(REFUSALS))})\.?$", re.MULTILINE
)
_NO_MEMORY = re.compile(r"^fatal: (Out of memory, \w+ failed)", re.MULTILINE)


def refused_by_machine(error: BaseException | None) -> OSError | None:
    """The refusal behind an error, looked for along its causes; None where there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in REFUSALS:
            return error
        if isinstance(error, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
            return OSError(errno.EAGAIN, f"{error}: {os.strerror(errno.EAGAIN)}")
        error = error.__cause__
    return None


def refusal_in(words: str) -> OSError | None:
    """The refusal that a program of ours (git) ended with; None where it says none.

    What the other end of a connection says (`remote: `) is another machine's.
    """
    own = "\n".join(line for line in words.splitlines() if not line.startswith("remote:"))
    found = _WORDS.search(own) or _NO_MEMORY.search(own)
    if found is None:
        return None
    number = next((number for number in REFUSALS if os.strerror(number) == found[1]), errno.ENOMEM)
    return OSError(number, found[1])
