"""Kill -9 between any two steps: a child process that dies just before its N-th change of the disk."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

CHANGES = frozenset({"os.rename", "os.mkdir", "os.symlink", "os.link", "os.remove", "os.truncate", "os.chmod"})


def survives(work: Callable[[], object], die_before: int) -> bool:
    """Run `work` in a child that is killed before its `die_before`-th change; whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = die_before

        def watch(event: str, args: tuple[object, ...]) -> None:
            nonlocal left
            creates = event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if event in CHANGES or creates:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            work()
        except BaseException:  # noqa: BLE001 - nothing of the child may run on in the test runner
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed of itself"
    return True


def every_death(work: Callable[[int], Callable[[], object]], most: int = 300) -> Iterator[tuple[int, bool]]:
    """`work(N)` gives what to do in the N-th child; yields N and whether it came to its end, until one does."""
    for number in range(1, most):
        ended = survives(work(number), number)
        yield number, ended
        if ended:
            return
    msg = f"still dying after {most} changes"
    raise AssertionError(msg)
