"""The plain launcher: one subprocess per attempt, on this machine.

Promises: the claim is locked before the runner starts and handed over with it, so that there is no moment at which a
starting runner is unlocked; no other process of ours keeps a copy. A runner is a session leader with its own log as
stdout and stderr, an environment built from nothing, no descriptor but claim and key, and a cgroup to enter where the
machine lets us make one. Its end is seen through a pidfd, whether it is our child or was adopted; no look that the
machine refuses is taken for an end. Closing the launcher leaves runners alone.

Fails with LaunchFailed, and then nothing runs and the claim is free again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import site
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import haikud
from haikud.engine.launchers.protocol import End, EndKind, Handle, LaunchFailed, LaunchOrder, attempt_name
from haikud.engine.launchers.sighting import Sighting, look_for_runner
from haikud.engine.machine.open_files import give_back
from haikud.sandbox.cgroups import cgroup_name, make_cgroup, remove_cgroup
from haikud.spool.claims import Life, release_claim, take_claim

SOURCE = Path(haikud.__file__).resolve().parent.parent
"""The folder from which `haikud` is imported."""

RUNNER = (sys.executable, "-P", "-m", "haikud.agent")
"""How a runner is started, without its arguments."""

NAMELESS_POLL_SECONDS = 0.1
"""How often we look for the name of a runner that holds its claim but has not written runner.json yet."""

NAMELESS_SECONDS = 5.0
"""How long a claim may be held while no runner of the attempt is to be found; then somebody else holds it."""


@dataclass
class _Runner:
    """A runner that we watch."""

    handle: Handle
    folder: Path
    pidfd: int | None = None  # None: it has not named itself yet
    process: subprocess.Popen[bytes] | None = None  # where it is our child
    terminate: int | None = None  # the signal it is to get once it has named itself
    nameless_until: float = 0.0  # the loop's time


class SubprocessLauncher:
    """See the module's head. `on_end` is called in the loop's thread when `poll` has something new."""

    capacity: int | None = None
    fence_seconds: float = 0.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[], None],
        *,
        spool_id: str | None = None,  # None: no cgroups
        open_files: tuple[int, int] | None = None,  # the limits that a runner is to have; None: ours
        argv_prefix: Sequence[str] = RUNNER,
    ) -> None:
        self._spool_id = spool_id
        self._open_files = open_files
        self._loop = loop
        self._on_end = on_end
        self._argv_prefix = list(argv_prefix)
        self._runners: dict[str, _Runner] = {}
        self._ends: dict[str, End] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, order: LaunchOrder) -> Handle:
        """Start a runner. Raises LaunchFailed."""
        known = self._runners.get(order.name)
        if known is not None:
            return known.handle
        try:
            claim = take_claim(order.folder / "claim")
        except OSError as error:
            raise LaunchFailed(f"the claim cannot be taken: {error}") from error
        if claim is None:
            raise LaunchFailed("its claim is held by another process")
        try:
            process = self._spawn_in_cgroup(order, claim)
        except OSError as error:
            raise LaunchFailed(str(error)) from error
        finally:
            release_claim(claim)
        give_back(process.pid, self._open_files)
        runner = _Runner(Handle(order.name, process.pid), order.folder, None, process)
        try:
            runner.pidfd = os.pidfd_open(process.pid)
        except OSError:  # no descriptor is left: it runs all the same, and is watched as if it were adopted
            runner.nameless_until = self._loop.time() + NAMELESS_SECONDS
        self._watch(runner)
        return runner.handle

    def adopt(self, name: str, folder: Path) -> Handle | None:
        """The handle of a runner that an earlier daemon started; None where its claim is free."""
        known = self._runners.get(name)
        if known is not None:
            return known.handle
        sighting = look_for_runner(folder)
        if sighting.life is Life.GONE:
            return None
        runner = _Runner(Handle(name), folder, nameless_until=self._loop.time() + NAMELESS_SECONDS)
        self._runners[name] = runner
        self._take(runner, sighting)
        return runner.handle

    def poll(self) -> dict[str, End]:
        """The ends since the last call."""
        ends, self._ends = self._ends, {}
        return ends

    def terminate(self, name: str, *, force: bool = False) -> None:
        """TERM to the runner (KILL with `force`); nothing where it is gone."""
        runner = self._runners.get(name)
        if runner is None:
            return
        number = signal.SIGKILL if force else signal.SIGTERM
        if runner.pidfd is None:
            runner.terminate = number
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(runner.pidfd, number)

    def close(self) -> None:
        """Let go of everything; runners go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for runner in list(self._runners.values()):
            self._let_go(runner)

    def pid_of(self, ref: str, attempt: int) -> int | None:
        """The runner's pid, to show: an adopted one may name itself late."""
        runner = self._runners.get(attempt_name(ref, attempt))
        return runner.handle.pid if runner else None

    def _spawn_in_cgroup(self, order: LaunchOrder, claim: int) -> subprocess.Popen[bytes]:
        cgroup = None if self._spool_id is None else make_cgroup(cgroup_name(self._spool_id, order.name))
        try:
            return self._spawn(order, claim, cgroup)
        except BaseException:
            if cgroup is not None:
                remove_cgroup(cgroup)
            raise

    def _spawn(self, order: LaunchOrder, claim: int, cgroup: Path | None) -> subprocess.Popen[bytes]:
        passed = [claim]
        key_read = key_write = None
        # O_NONBLOCK: a FIFO that an agent put there is refused, not waited for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        log = os.open(order.log, flags, 0o600)
        try:
            argv = [*self._argv_prefix, "--attempt", str(order.folder), "--claim-fd", str(claim)]
            if order.key is not None or order.tokens:
                key_read, key_write = os.pipe()
                secrets = {"api_key": order.key} | ({"tokens": dict(order.tokens)} if order.tokens else {})
                os.write(key_write, json.dumps(secrets).encode() + b"\n")  # far below a pipe's 64 KiB
                argv += ["--key-fd", str(key_read)]
                passed.append(key_read)
            if cgroup is not None:
                argv += ["--cgroup", str(cgroup)]
            return subprocess.Popen(
                [*argv, order.ref],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=order.environment | import_path(),
                pass_fds=passed,
                start_new_session=True,
            )
        finally:
            for descriptor in (log, key_read, key_write):
                if descriptor is not None:
                    os.close(descriptor)

    def _watch(self, runner: _Runner) -> None:
        self._runners[runner.handle.name] = runner
        if runner.pidfd is not None:
            self._loop.add_reader(runner.pidfd, self._ended, runner)
        else:
            self._look_soon()

    def _ended(self, runner: _Runner) -> None:
        """The process is dead."""
        code = _reap(runner.process) if runner.process is not None else None
        self._let_go(runner)
        self._ends[runner.handle.name] = End(EndKind.EXITED, code)
        self._on_end()

    def _let_go(self, runner: _Runner) -> None:
        self._runners.pop(runner.handle.name, None)
        if runner.pidfd is not None:
            self._loop.remove_reader(runner.pidfd)
            os.close(runner.pidfd)
            runner.pidfd = None
        if runner.process is not None:
            # We wait by pidfd, so Popen must neither wait itself nor warn that nobody has.
            runner.process.returncode = runner.process.returncode or 0
            runner.process = None

    def _take(self, runner: _Runner, sighting: Sighting) -> None:
        """Go by what was seen of a runner that we do not watch yet: watch it, call it ended, or look again soon."""
        if sighting.pidfd is not None:
            runner.pidfd = sighting.pidfd
            runner.handle = Handle(runner.handle.name, sighting.pid)
            if runner.terminate is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(sighting.pidfd, runner.terminate)
        elif sighting.life is Life.GONE or self._is_somebody_else(runner, sighting):
            self._ended(runner)
            return
        self._watch(runner)

    def _is_somebody_else(self, runner: _Runner, sighting: Sighting) -> bool:
        """Whether the claim has been held for long without any sign of a runner: whoever holds it is in its way."""
        return sighting.life is Life.ALIVE and self._loop.time() >= runner.nameless_until

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(NAMELESS_POLL_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        for runner in [one for one in self._runners.values() if one.pidfd is None]:
            self._take(runner, look_for_runner(runner.folder))


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a dead child, negative for a signal; None where somebody else has waited for it."""
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def import_path() -> dict[str, str]:
    """PYTHONPATH, where a process of ours would not find `haikud` without it: we run from a source tree."""
    installed = {Path(folder).resolve() for folder in [*site.getsitepackages(), site.getusersitepackages()]}
    return {} if SOURCE in installed else {"PYTHONPATH": str(SOURCE)}
