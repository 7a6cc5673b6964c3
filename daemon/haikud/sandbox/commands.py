"""The one way to run an untrusted command: its own session, a time limit, its output streamed, its whole tree ended.

Promises: when `run_command` returns or raises, nothing that the command started is running any more: not children in
the background that it left behind when it exited, not those in sessions of their own. So the reads of its output end
too, whoever still held the pipe. (What a shell command starts with `&` therefore does not outlive that command.)
Where this process is a subreaper, and runs one command at a time and no other child, that holds without exception;
elsewhere see trees.py.

stdin is /dev/null; stdout and stderr come through one pipe, in order, as raw bytes, and nothing is kept here: the
caller caps. A caller that is slow to take them slows the command down. No preexec_fn: it would force a real fork.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from haikud.sandbox.prctl import is_subreaper
from haikud.sandbox.process_table import MARKER_NAME, has_children, in_words, own_children, reap
from haikud.sandbox.trees import end_tree

_TICK = 0.05
_WOKEN_TICK = 0.125
"""Seconds between two looks at `stop`; the second where a descriptor tells of what cannot wait."""

_WRAPPER_SECONDS = 0.5
_WRAPPER_TICK = 0.001
"""How long a wrapper with nothing left to wait for may take to end, and between two looks whether it has."""

_CHUNK = 65_536
_MOST_LATE_BYTES = 16 * 1_048_576
"""Of output taken after the tree's end: more than a pipe holds, so only a writer that escaped reaches it."""


def shell(command: str) -> list[str]:
    """The argv that runs a command line of a plan."""
    for program in ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"):
        if os.access(program, os.X_OK):
            return [program, "-c", command]
    return ["/bin/sh", "-c", command]


class CannotStart(RuntimeError):  # noqa: N818 -- the name says what is the case
    """The command could not even be started: no such program, not executable, no such folder."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int | None  # None: we ended it (timed_out, stopped); negative: killed by that signal
    seconds: float
    timed_out: bool = False
    stopped: bool = False
    left_running: list[str] = field(default_factory=list)  # what it left in the background, `PID COMMAND LINE`; ended


def run_command(
    argv: Sequence[str],
    *,
    cwd: Path | str,
    env: Mapping[str, str],
    timeout: float | None,
    grace: float,
    on_output: Callable[[bytes], None],
    stop: Callable[[], bool] | None = None,
    wake: int | None = None,
    pass_fds: Sequence[int] = (),
    wrapped: bool = False,
) -> Ended:
    """Run `argv` in `cwd` with exactly the environment `env`, at most `timeout` seconds.

    `stop` is asked every 50 ms; or, where `wake` is given, eight times a second and as soon as that is readable. When
    it says True, or time is up, the tree gets TERM, `grace` seconds, then KILL. The tree is found through `env`'s
    HAIKUD_OUT too. Raises CannotStart, and TreeStillAlive where even KILL did not help.
    `pass_fds` are inherited. `wrapped`: argv starts a program (bwrap) that runs the command beneath it, in processes
    of the same command line, which are not told of as left running.
    """
    began = time.monotonic()
    if stop is not None and stop():
        return Ended(None, 0.0, stopped=True)
    others = own_children() if is_subreaper() else None
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
        raise CannotStart(f"cannot start {argv[0]!r} in {cwd}: {error}") from error
    try:
        wrapper = in_words(b"\0".join(map(os.fsencode, argv))) if wrapped else None
        running = _Running(process, env.get(MARKER_NAME), others, grace, on_output, wrapper=wrapper)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        why = running.wait(None if timeout is None else began + timeout, stop, wake)
        left = running.end_rest() if why is None else running.end_all()
        return Ended(
            exit_code=process.returncode if why is None else None,
            seconds=time.monotonic() - began,
            timed_out=why == "timed_out",
            stopped=why == "stopped",
            left_running=left,
        )
    except BaseException:
        # Whatever went wrong here (a full disk in on_output), the command must not stay behind.
        running.silence()
        running.end_all()
        raise
    finally:
        running.close()


class _Running:
    """A command that was started."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        marker: str | None,
        others: AbstractSet[int] | None,
        grace: float,
        on_output: Callable[[bytes], None],
        *,
        wrapper: str | None,
    ) -> None:
        self._process = process
        self._wrapper = wrapper
        self._pipe = process.stdout.fileno() if process.stdout is not None else -1  # it always is one
        self._pidfd = os.pidfd_open(process.pid)
        self._marker = marker
        self._others = others
        self._grace = grace
        self._on_output: Callable[[bytes], None] | None = on_output
        self._open = True
        os.set_blocking(self._pipe, False)

    def wait(self, deadline: float | None, stop: Callable[[], bool] | None, wake: int | None) -> str | None:
        """Deliver output until the command exits (None), is to be stopped ("stopped") or time is up ("timed_out")."""
        poller, tick = select.poll(), _TICK
        if wake is not None:
            poller.register(wake, select.POLLIN)
            tick = _WOKEN_TICK
        poller.register(self._pidfd, select.POLLIN)
        poller.register(self._pipe, select.POLLIN)
        while True:
            left = tick if deadline is None else min(tick, deadline - time.monotonic())
            ready = {descriptor for descriptor, _ in poller.poll(max(0.0, left) * 1000)}
            if self._pipe in ready and not self._take():
                poller.unregister(self._pipe)
            if self._pidfd in ready and self._process.poll() is not None:
                return None
            if stop is not None and stop():
                return "stopped"
            if wake is not None and wake in ready:  # heard: it stays readable
                poller.unregister(wake)
                wake, tick = None, _TICK
            if deadline is not None and time.monotonic() >= deadline:
                return "timed_out"

    def end_rest(self) -> list[str]:
        """The command has exited: end what it left behind, take the last of its output."""
        left: list[str] = []
        nothing_left = self._others is not None and self._only_others_left(self._others)
        if not nothing_left:  # all that a subreaper's command leaves behind is a child of ours
            left = self._end()
        self._take_rest()
        return left

    def _only_others_left(self, others: AbstractSet[int]) -> bool:
        """Nothing of the command's is. The wrapper's second process ends a moment after the first."""
        end = time.monotonic() + _WRAPPER_SECONDS
        while left := own_children() - others:
            if self._wrapper is None or time.monotonic() >= end or any(has_children(pid) for pid in left):
                return False
            time.sleep(_WRAPPER_TICK)
            reap(left)
        return True

    def end_all(self) -> list[str]:
        """End the command and its tree; nothing is left running in the sense of `Ended`."""
        self._end()
        self._process.wait()
        self._take_rest()
        return []

    def silence(self) -> None:
        """Deliver no more output."""
        self._on_output = None

    def close(self) -> None:
        """Give back the descriptors."""
        os.close(self._pidfd)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _end(self) -> list[str]:
        ended = end_tree(
            marker=self._marker,
            pids=[self._process.pid],
            grace=self._grace,
            orphans_but=self._others,
            meanwhile=self._take,
        )
        if self._wrapper is None:
            return ended
        return [one for one in ended if one.partition(" ")[2] not in {self._wrapper, "[bwrap]"}]

    def _take(self) -> bool:
        """Deliver one chunk of what is there; whether there may be more."""
        if not self._open:
            return False
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return True
        self._open = bool(data)
        if data and self._on_output is not None:
            self._on_output(data)
        return self._open

    def _take_rest(self) -> None:
        """Deliver what the pipe still holds, without waiting for anyone who might still hold it open."""
        taken = 0
        while self._open and taken < _MOST_LATE_BYTES:
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._pipe, _CHUNK)
                self._open = bool(data)
                taken += len(data)
                if data and self._on_output is not None:
                    self._on_output(data)
                continue
            return
