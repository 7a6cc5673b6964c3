"""The forkserver as the daemon sees it: started in the background, asked for runners, replaced when it dies or is old.

It only makes a start quick. Where there is none (it still loads, it has just died, its code is another by now), `fork`
says so and the plain launcher starts the runner. An order that got no answer is `Unclear`: the runner may be there, and
its claim tells. Runners live on whatever becomes of it, but only it knows with which code one of them exited.

Some runners it forks ahead of need. Such a spare takes its order from us over a socket of its own, and gives no answer:
what was sent is with it, whose pidfd we have. As many as were used are asked for anew.

No method holds up the loop. `fork` is done at once where there is a spare; else it awaits the next one or an answer,
for ANSWER_SECONDS each at most, and kills a forkserver that gives none.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from haikud.contracts.forking import MOST_BYTES, ROOM, ForkNews, NewsKind, SpareOrder
from haikud.engine.launchers.forkserver_process import Server
from haikud.engine.launchers.import_path import import_path
from haikud.engine.launchers.spares import Forked, SpareCgroups
from haikud.engine.log_levels import Warn
from haikud.engine.machine.open_files import give_back
from haikud.sandbox.cgroups import remove_cgroup

PROGRAM = (sys.executable, "-P", "-m", "haikud.agent.forkserver")

ANSWER_SECONDS = 5.0
"""How long an answer may take before that forkserver is killed: a fork takes milliseconds."""

DEATH_SECONDS = 2.0
"""How long the death of one that was killed is waited for: the kernel then gives back what it held."""

DEATH_POLL_SECONDS = 0.005

WAITS = (0.0, 1.0, 5.0, 30.0, 120.0)
"""Seconds before one that has died is started again: the first, the second, ... time in a row."""

SPARES = 4
"""Runners forked ahead of need, at most: as many starts as may come at once before the next ones are forked."""

SPARES_SECONDS = 0.1
"""How long after a start the next spare is asked for: who enters a cgroup keeps all others from forking meanwhile, and
a runner begins with that."""

STEADY_SECONDS = 30.0
"""One that has lived for so long has not died in a row with others."""

_ROOM = "x" * 8_192
"""The place for a runner's title, and for its mark: a path of the greatest length fits twice."""


class Unclear(OSError):  # noqa: N818 - says what is the case
    """The order was sent, and no answer came."""


class ForkserverClient:
    """See the module's head. `on_code` is called with the pid and exit code of each runner that has ended.

    `environment` is what the forkserver itself gets, beside what it needs to find our code.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
        on_code: Callable[[int, int], None],
        say: Callable[[str], None],
        *,
        open_files: tuple[int, int] | None = None,
        spares: int = 0,
        spool_id: str | None = None,  # None: no cgroups
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._loop = loop
        self._environment = dict(environment)
        self._on_code = on_code
        self._say = say
        self._open_files = open_files
        self._most_spares = spares
        self._program = list(program)
        self._server: Server | None = None  # that is asked
        self._servers: set[Server] = set()  # with those that are retired
        self._deaths = 0
        self._again: asyncio.TimerHandle | None = None
        self._spares_due: asyncio.TimerHandle | None = None
        self._cgroups = SpareCgroups(spool_id)
        self._number = 0
        self._closed = False

    @property
    def is_ready(self) -> bool:
        """Whether it forks what it is asked for."""
        return self._server is not None and self._server.is_ready

    @property
    def spares(self) -> list[int]:
        """The pids of those that wait for an order."""
        return self._server.spares.pids if self._server is not None else []

    @property
    def pid(self) -> int | None:
        """Of its process, to show."""
        return self._server.process.pid if self._server is not None else None

    def begin(self) -> None:
        """Start it, where it is not. What the machine refuses is tried again later."""
        if self._server is not None or self._again is not None or self._closed:
            return
        self._cgroups.sweep()
        try:
            self._server = self._spawn()
        except OSError as error:
            self._died(f"it could not be started: {error}", 0.0)
            return
        self._servers.add(self._server)
        self._loop.add_reader(self._server.link, self._hear_all, self._server)

    async def fork(
        self,
        argv: Callable[[Path | None], Sequence[str]],
        cgroup: Callable[[], Path | None],
        environment: Mapping[str, str],
        handed: Mapping[str, int],
    ) -> Forked | None:
        """A runner, or None where this forkserver starts none. Raises Unclear.

        `argv`: the arguments of a runner in that cgroup; `cgroup` makes one for a runner that is no spare and so has
        none. `handed`: descriptors by name.
        """
        server = self._server
        if server is None or not server.is_ready:
            return None
        self._number += 1
        number = self._number

        def message(place: Path | None) -> bytes:
            told = {"number": number, "argv": [*argv(place)], "environment": dict(environment)}
            return json.dumps(told | {"handed": list(handed)}).encode()  # also what UTF-8 cannot say

        if not server.spares.pids and server.spares.coming and not await self._has_waited_for_spare(server):
            return None
        forked = server.spares.send(message, list(handed.values()))
        if forked is not None:
            server.runners.add(forked.pid)
            self._have_spares_soon(server)
            return forked
        data = message(cgroup())
        if len(data) > MOST_BYTES:
            return None
        try:
            socket.send_fds(server.link, [data], list(handed.values()))
        except OSError:  # a full queue, an end: nothing was sent
            return None
        forked = await self._answer(server, number)
        self._have_spares(server)
        return forked

    def _have_spares_soon(self, server: Server) -> None:
        """As `_have_spares`, but not in the way of the runner that has just begun, unless it has taken the last one."""
        if not server.spares.pids:
            self._have_spares(server)
        elif self._spares_due is None:
            self._spares_due = self._loop.call_later(SPARES_SECONDS, self._have_spares_now)

    def _have_spares_now(self) -> None:
        self._spares_due = None
        if self._server is not None and self._server.is_ready:
            self._have_spares(self._server)

    def _have_spares(self, server: Server) -> None:
        """Have as many forked ahead as there are to be."""
        missing = server.spares.missing(self._most_spares)
        if missing == 0 or server is not self._server:
            return
        places = [self._cgroups.make() for _ in range(missing)]
        order = SpareOrder(spares=missing, cgroups=["" if place is None else str(place) for place in places])
        try:
            server.link.send(order.model_dump_json().encode())
        except OSError:  # a full queue, an end: the next start asks again
            for place in places:
                if place is not None:
                    remove_cgroup(place)
        else:
            server.spares.ask(places)

    async def _has_waited_for_spare(self, server: Server) -> bool:
        """Wait for the next one, behind which an order would wait too; False where this forkserver is of no use."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while server is self._server and not server.spares.pids and server.spares.coming:
                    server.spare_news.clear()
                    await server.spare_news.wait()
        except TimeoutError:
            await self._give_up(server, "it forked nothing that it was asked for")
        return server is self._server and server.is_ready

    def close(self) -> None:
        """Let go of it: it ends, runners go on. One that stands still would keep the claims of its orders: killed."""
        self._closed = True
        for timer in (self._again, self._spares_due):
            if timer is not None:
                timer.cancel()
        self._again = self._spares_due = None
        for server in list(self._servers):
            server.wake_askers()
            server.spares.drop()
            self._loop.remove_reader(server.link)
            if server.asked:
                server.process.kill()
            server.link.close()
            self._reap(server)
        self._servers.clear()
        self._server = None

    def _spawn(self) -> Server:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                argv = [*self._program, "--socket-fd", str(theirs.fileno()), _ROOM]
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=self._environment | import_path() | {ROOM: _ROOM},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        give_back(process.pid, self._open_files)
        return Server(process, ours, self._loop.time())

    async def _answer(self, server: Server, number: int) -> Forked | None:
        server.asked[number] = asking = self._loop.create_future()
        answer = None
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await asking  # called off: it stays among those that are asked, for `close`
        server.asked.pop(number, None)
        if answer is None:
            why = "it gave no answer to an order"
            await self._give_up(server, why)
            raise Unclear(why)
        news, descriptors = answer
        if news.kind is NewsKind.FORKED and news.pid is not None:
            return Forked(news.pid, descriptors[0] if descriptors else None)
        if news.kind is NewsKind.STALE and server is self._server:
            self._retire(server)
        elif news.kind is not NewsKind.STALE:
            self._say(Warn(f"the forkserver could not fork: {news.why}"))
        self._let_go_when_done(server)
        return None

    async def _give_up(self, server: Server, why: str) -> None:
        """Kill it: once it is dead it holds no claim any more, also where it has closed its end."""
        server.is_ready, server.why = False, why
        server.process.kill()
        end = self._loop.time() + DEATH_SECONDS
        while server.process.poll() is None and self._loop.time() < end:  # noqa: ASYNC110 - nobody tells, and once
            await asyncio.sleep(DEATH_POLL_SECONDS)
        if server in self._servers:
            self._lose(server, why)

    def _hear_all(self, server: Server) -> None:
        while server in self._servers:
            try:
                news, descriptors = _receive(server)
            except BlockingIOError:
                return
            if news is None:
                self._lose(server, server.why)
                return
            self._take(server, news, descriptors)

    def _take(self, server: Server, news: ForkNews, descriptors: list[int]) -> None:
        if news.kind is NewsKind.SPARE:
            server.spares.take(news.pid, descriptors)
            server.spare_news.set()
            if server.is_retired:
                server.spares.drop()
            return
        if news.kind is NewsKind.FORKED and news.pid is not None:
            server.runners.add(news.pid)
        asking = server.asked.pop(news.number, None) if news.number is not None else None
        if asking is not None and not asking.done():
            asking.set_result((news, descriptors))
            return
        for descriptor in descriptors:  # of an order that nobody waits for any more
            os.close(descriptor)
        if news.kind is NewsKind.READY:
            server.is_ready = True
            self._say(f"started the forkserver pid {server.process.pid}")
            self._have_spares(server)
        elif news.kind is NewsKind.ENDED and news.pid is not None and news.code is not None:
            server.runners.discard(news.pid)
            server.spares.forget(news.pid)
            self._loop.call_soon(self._on_code, news.pid, news.code)  # not in the midst of a start
            self._let_go_when_done(server)
        elif news.number is None and news.kind is NewsKind.REFUSED:
            server.spares.refused()
            server.spare_news.set()
        elif news.number is None and news.kind is NewsKind.STALE and server is self._server:
            self._retire(server)

    def _retire(self, server: Server) -> None:
        """Have another take its place; it stays for as long as it has runners whose ends it is to tell."""
        self._say("replacing the forkserver: its code on disk is another by now")
        server.is_retired = True
        server.spares.drop()
        self._server = None
        self._let_go_when_done(server)
        self._deaths = 0
        self.begin()

    def _lose(self, server: Server, why: str) -> None:
        was_in_use = server is self._server
        if was_in_use:
            self._server = None
        lived = self._loop.time() - server.began
        self._let_go(server)
        if was_in_use and not self._closed:
            self._died(why, lived)

    def _died(self, why: str, lived: float) -> None:
        self._deaths = 1 if lived >= STEADY_SECONDS else self._deaths + 1
        seconds = WAITS[min(self._deaths, len(WAITS)) - 1]
        self._say(Warn(f"the forkserver is gone: {why}; runners start without it, another is tried in {seconds:g} s"))
        self._again = self._loop.call_later(seconds, self._begin_again)

    def _begin_again(self) -> None:
        self._again = None
        self.begin()

    def _let_go_when_done(self, server: Server) -> None:
        """One that is retired and has nothing to tell any more."""
        if server.is_retired and server in self._servers and not server.runners and not server.asked:
            self._let_go(server)

    def _let_go(self, server: Server) -> None:
        self._servers.discard(server)
        server.wake_askers()
        server.spares.drop()
        self._loop.remove_reader(server.link)
        server.link.close()
        self._reap(server)

    def _reap(self, server: Server) -> None:
        """Wait for it where it is dead, and in the background where it is about to be."""
        if server.process.poll() is None:
            with suppress(OSError):
                pidfd = os.pidfd_open(server.process.pid)
                if self._closed:
                    os.close(pidfd)  # the daemon ends: whoever comes after us reaps it
                    server.process.returncode = 0
                    return
                self._loop.add_reader(pidfd, self._reap_now, server, pidfd)

    def _reap_now(self, server: Server, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        server.process.wait()


def _receive(server: Server) -> tuple[ForkNews | None, list[int]]:
    """The next news with its descriptors; None: it has ended. Raises BlockingIOError."""
    try:
        data, descriptors, _, _ = socket.recv_fds(server.link, MOST_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        raise
    except OSError:
        return None, []
    if not data:
        return None, descriptors
    try:
        return ForkNews.model_validate_json(data), descriptors
    except ValidationError:
        for descriptor in descriptors:
            os.close(descriptor)
        return None, []
