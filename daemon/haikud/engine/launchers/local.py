"""The launcher of this machine: one process per attempt, forked by the forkserver where that is ready, else executed.

Promises: the claim is locked before the runner starts and handed over with it, so that there is no moment at which a
starting runner is unlocked; no other process of ours keeps a copy. A runner is a session leader with its own log as
stdout and stderr, an environment built from nothing, no descriptor but claim and key, and a cgroup to enter where the
machine lets us make one. Its end is seen through a pidfd, whether it is our child, the forkserver's, or was adopted; no
look that the machine refuses is taken for an end. Closing the launcher leaves runners alone.

Fails with LaunchFailed, and then nothing runs and the claim is free again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.forking import with_numbers
from haikud.engine.launchers.forkserver import ForkserverClient, Unclear
from haikud.engine.launchers.import_path import import_path
from haikud.engine.launchers.protocol import End, EndKind, Handle, LaunchFailed, LaunchOrder, attempt_name
from haikud.engine.launchers.sighting import Sighting, look_for_runner
from haikud.engine.launchers.spares import Forked
from haikud.engine.machine.open_files import give_back
from haikud.sandbox.cgroups import cgroup_name, make_cgroup, remove_cgroup
from haikud.spool.claims import Life, release_claim, take_claim
from haikud.spool.durable import write_all

MakeForkserver = Callable[[Callable[[int, int], None]], ForkserverClient]
"""Makes the forkserver; it is given whom to tell of exit codes."""

RUNNER = (sys.executable, "-P", "-m", "haikud.agent")
"""How a runner is started, without its arguments."""

NAMELESS_POLL_SECONDS = 0.1
"""How often we look for the name of a runner that holds its claim but has not written runner.json yet."""

NAMELESS_SECONDS = 5.0
"""How long a claim may be held while no runner of the attempt is to be found; then somebody else holds it."""


CODE_SECONDS = 1.0
"""How long the forkserver may take to tell the exit code of a runner that has ended."""


@dataclass
class _Runner:
    """A runner that we watch."""

    handle: Handle
    folder: Path
    pidfd: int | None = None  # None: it has not named itself yet
    process: subprocess.Popen[bytes] | None = None  # where it is our child
    is_forked: bool = False  # the forkserver tells its exit code
    cgroup: str | None = None  # where it was as a spare
    code: int | None = None
    has_ended: bool = False  # and its code is waited for
    terminate: int | None = None  # the signal it is to get once it has named itself
    nameless_until: float = 0.0  # the loop's time


class LocalLauncher:
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
        forkserver: MakeForkserver | None = None,
    ) -> None:
        self._spool_id = spool_id
        self._open_files = open_files
        self._loop = loop
        self._on_end = on_end
        self._argv_prefix = list(argv_prefix)
        self._runners: dict[str, _Runner] = {}
        self._ends: dict[str, End] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._forkserver = forkserver(self._hear_code) if forkserver is not None else None

    def begin(self) -> None:
        """Have the forkserver load, where there is to be one."""
        if self._forkserver is not None:
            self._forkserver.begin()

    async def start(self, order: LaunchOrder) -> Handle:
        """Start a runner. Raises LaunchFailed."""
        known = self._runners.get(order.name)
        if known is not None:
            return known.handle
        claim = _take_claim(order)
        if claim is None:
            raise LaunchFailed("its claim is held by another process")
        try:
            runner = await self._spawn_in_cgroup(order, claim, self._forkserver)
        except Unclear:
            runner = None
        except OSError as error:
            raise LaunchFailed(str(error)) from error
        finally:
            release_claim(claim)
        if runner is None:
            return await self._start_after_all(order)
        self._watch(runner)
        return runner.handle

    async def _start_after_all(self, order: LaunchOrder) -> Handle:
        """The forkserver has not said whether it started this one; its claim does. Raises LaunchFailed."""
        claim = _take_claim(order)
        if claim is None:
            runner = self._unseen(order.name, order.folder)
            self._watch(runner)
            return runner.handle
        try:
            runner = await self._spawn_in_cgroup(order, claim, None)
        except OSError as error:
            raise LaunchFailed(str(error)) from error
        finally:
            release_claim(claim)
        self._watch(runner)
        return runner.handle

    def _unseen(self, name: str, folder: Path, pid: int | None = None) -> _Runner:
        return _Runner(Handle(name, pid), folder, nameless_until=self._loop.time() + NAMELESS_SECONDS)

    def adopt(self, name: str, folder: Path) -> Handle | None:
        """The handle of a runner that an earlier daemon started; None where its claim is free."""
        known = self._runners.get(name)
        if known is not None:
            return known.handle
        sighting = look_for_runner(folder)
        if sighting.life is Life.GONE:
            return None
        runner = self._unseen(name, folder)
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
        if self._forkserver is not None:
            self._forkserver.close()
        for runner in list(self._runners.values()):
            self._let_go(runner)

    def pid_of(self, ref: str, attempt: int) -> int | None:
        """The runner's pid, to show: an adopted one may name itself late."""
        runner = self._runners.get(attempt_name(ref, attempt))
        return runner.handle.pid if runner else None

    async def _spawn_in_cgroup(self, order: LaunchOrder, claim: int, forkserver: ForkserverClient | None) -> _Runner:
        made: list[Path | None] = []

        def cgroup() -> Path | None:
            """That of a runner which has none as a spare."""
            if not made:
                spool_id = self._spool_id
                made.append(None if spool_id is None else make_cgroup(cgroup_name(spool_id, order.name)))
            return made[0]

        try:
            return await self._spawn(order, claim, cgroup, forkserver)
        except BaseException as error:
            if made and made[0] is not None and not isinstance(error, Unclear | asyncio.CancelledError):
                remove_cgroup(made[0])
            raise

    async def _spawn(
        self,
        order: LaunchOrder,
        claim: int,
        cgroup: Callable[[], Path | None],
        forkserver: ForkserverClient | None,
    ) -> _Runner:
        key = None
        # O_NONBLOCK: a FIFO that an agent put there is refused, not waited for.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        log = os.open(order.log, flags, 0o600)
        try:
            handed = {"log": log, "claim": claim}
            words = ["--attempt", str(order.folder), "--claim-fd", "{claim}"]
            key = _hand_over(order)
            if key is not None:
                words += ["--key-fd", "{key}"]
                handed["key"] = key

            def argv(place: Path | None) -> list[str]:
                return [*words, *(["--cgroup", str(place)] if place is not None else []), order.ref]

            environment = order.environment | import_path()
            forked = await forkserver.fork(argv, cgroup, environment, handed) if forkserver is not None else None
            if forked is not None:
                return self._forked(order, forked)
            full = self._argv_prefix + with_numbers(argv(cgroup()), handed)
            return self._executed(order, full, environment, handed)
        finally:
            for descriptor in (log, key):
                if descriptor is not None:
                    os.close(descriptor)

    def _forked(self, order: LaunchOrder, forked: Forked) -> _Runner:
        if forked.pidfd is None:
            return self._unseen(order.name, order.folder, forked.pid)
        handle, cgroup = Handle(order.name, forked.pid), str(forked.cgroup) if forked.cgroup is not None else None
        return _Runner(handle, order.folder, forked.pidfd, is_forked=True, cgroup=cgroup)

    def _executed(
        self, order: LaunchOrder, argv: list[str], environment: dict[str, str], handed: dict[str, int]
    ) -> _Runner:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=handed["log"],
            stderr=handed["log"],
            cwd="/",
            env=environment,
            pass_fds=[number for name, number in handed.items() if name != "log"],
            start_new_session=True,
        )
        give_back(process.pid, self._open_files)
        runner = self._unseen(order.name, order.folder, process.pid)
        runner.process = process
        with suppress(OSError):  # no descriptor is left: it runs all the same, and is watched as if it were adopted
            runner.pidfd = os.pidfd_open(process.pid)
        return runner

    def _watch(self, runner: _Runner) -> None:
        self._runners[runner.handle.name] = runner
        if runner.pidfd is not None:
            self._loop.add_reader(runner.pidfd, self._ended, runner)
        else:
            self._look_soon()

    def _ended(self, runner: _Runner) -> None:
        """The process is dead."""
        if runner.is_forked and runner.code is None and not runner.has_ended:
            runner.has_ended = True
            if runner.pidfd is not None:
                self._loop.remove_reader(runner.pidfd)
            self._loop.call_later(CODE_SECONDS, self._ended_for_sure, runner)
            return
        self._ended_for_sure(runner)

    def _hear_code(self, pid: int, code: int) -> None:
        """The forkserver has waited for one of its children."""
        for runner in self._runners.values():
            if runner.is_forked and runner.handle.pid == pid:
                runner.code = code
                if runner.has_ended:
                    self._ended_for_sure(runner)
                return

    def _ended_for_sure(self, runner: _Runner) -> None:
        if self._runners.get(runner.handle.name) is not runner:
            return  # the code came in time
        code = _reap(runner.process) if runner.process is not None else runner.code
        self._let_go(runner)
        self._ends[runner.handle.name] = End(EndKind.EXITED, code, place=runner.cgroup)
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


def _hand_over(order: LaunchOrder) -> int | None:
    """The secrets in memory that only this descriptor names, of any size; None where there are none."""
    more = {"tokens": dict(order.tokens), "given": dict(order.given), "masked": dict(order.masked)}
    if order.key is None and not any(more.values()):
        return None
    secrets = {"api_key": order.key} | {name: values for name, values in more.items() if values}
    descriptor = os.memfd_create("haikud-key", os.MFD_CLOEXEC)
    try:
        write_all(descriptor, json.dumps(secrets).encode() + b"\n")
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a dead child, negative for a signal; None where somebody else has waited for it."""
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def _take_claim(order: LaunchOrder) -> int | None:
    try:
        return take_claim(order.folder / "claim")
    except OSError as error:
        raise LaunchFailed(f"the claim cannot be taken: {error}") from error
