"""Running a trusted program (git, gh) to its end, or ending it with all of its group when its time is over.

Output goes into memory files and not through pipes, so its size does not matter and a process that the program leaves
in the background cannot hold a call open. Safe to call from any thread: the program is started by vfork, which runs
nothing of ours in the child and costs the same however large we are (docs/adr/0006). Fails with OSError where it cannot
be started.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_TICK = 0.05
"""Seconds between two looks at `stop`."""


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it printed. `exit_code` None: it was ended by us."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes


def run_program(
    argv: Sequence[str],
    *,
    stdin: bytes | None,
    timeout: float,
    env: Mapping[str, str],
    cwd: str,
    stop: Callable[[], bool] | None = None,
) -> Finished:
    """Run it with exactly this environment, at most so many seconds and until `stop` says True. Raises OSError."""
    return Running(argv, stdin=stdin, env=env, cwd=cwd).finish(timeout, stop)


class Running:
    """A program that has been started, while its caller does something else. `finish` or `end` it."""

    def __init__(self, argv: Sequence[str], *, stdin: bytes | None, env: Mapping[str, str], cwd: str) -> None:
        with contextlib.ExitStack() as files:
            fd_in = files.enter_context(_memory_file(stdin or b""))
            self._out, self._err = files.enter_context(_memory_file()), files.enter_context(_memory_file())
            self._process = subprocess.Popen(
                list(argv), stdin=fd_in, stdout=self._out, stderr=self._err, env=env, cwd=cwd, start_new_session=True
            )
            self._files = files.pop_all()

    def finish(self, timeout: float, stop: Callable[[], bool] | None = None) -> Finished:
        """Wait for it, at most so many seconds and until `stop` says True; then it is ended."""
        with self._files:
            ended = _wait(self._process, timeout, stop)
            return Finished(self._process.returncode if ended else None, _read_all(self._out), _read_all(self._err))

    def end(self) -> None:
        """Nobody asks any longer. What has ended already is left as it is."""
        with self._files:
            if self._process.returncode is None:
                _end_group(self._process)


@contextlib.contextmanager
def _memory_file(content: bytes = b"") -> Iterator[int]:
    fd = os.memfd_create("haikud", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    size, parts, at = os.fstat(fd).st_size, [], 0
    while at < size and (part := os.pread(fd, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _wait(process: subprocess.Popen[bytes], timeout: float, stop: Callable[[], bool] | None) -> bool:
    """Wait for the program; False where it was ended, with all of its group, because its time was over."""
    try:
        if _ends_within(process, timeout, stop):
            process.wait()
            return True
    except BaseException:
        _end_group(process)
        raise
    _end_group(process)
    return False


def _ends_within(process: subprocess.Popen[bytes], timeout: float, stop: Callable[[], bool] | None) -> bool:
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:  # no descriptor is left: then by looking again and again
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        return process.returncode is not None
    try:
        end = select.poll()
        end.register(pidfd, select.POLLIN)
        if stop is None:
            return bool(end.poll(timeout * 1000))
        deadline = time.monotonic() + timeout
        while not stop() and (left := deadline - time.monotonic()) > 0:
            if end.poll(min(left, _TICK) * 1000):
                return True
        return False
    finally:
        os.close(pidfd)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
