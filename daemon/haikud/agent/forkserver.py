"""The forkserver: it has imported everything that an attempt may need, and forks a runner whenever the daemon says so.

`python -m haikud.agent.forkserver --socket-fd N ROOM`. One thread, no secret, no descriptor of the daemon's but the
socket. A runner is a session leader with its own log as stdout and stderr, an environment built from nothing, and no
descriptor but claim and key; what of the parent's is to be seen from outside (command line, environment) is written
over: ROOM, and a variable of that name, are the places for it. Everything that holds a thread, a connection or a
random state is made after the fork.

A spare is a runner that was forked ahead of need: a session leader that shows SPARE_TITLE, has no descriptor but a
socket, and waits there for its order, which the daemon sends to it and to nobody else. It ends when that closes.

It ends when the daemon's end of the socket closes; runners go on. Once a file of its code is another than the one it
has loaded, it forks no more and says so: a runner must not mix two versions. A spare that sees that when its order
comes executes a fresh interpreter in its place.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from haikud.agent.__main__ import EXIT_BUG, EXIT_ENVIRONMENT, set_title
from haikud.agent.__main__ import main as run_attempt
from haikud.agent.own_pages import OwnPages, learn
from haikud.agent.shared_heap import prepare_to_fork
from haikud.agent.sources import Sources
from haikud.contracts.forking import MOST_BYTES, ROOM, ForkNews, ForkOrder, NewsKind, SpareOrder, with_numbers
from haikud.sandbox.cgroups import enter_cgroup, leave_cgroup
from haikud.sandbox.prctl import make_undumpable, offer_to_oom_killer
from haikud.sandbox.process_table import MARKER_NAME

TITLE = "haikud-forkserver"
SPARE_TITLE = "haikud-spare"

FRESH = (sys.executable, "-P", "-m", "haikud.agent")
"""How a runner begins whose code must not be ours, without its arguments."""

LEISURE_SECONDS = 1.0
"""That a spare has waited for its order when it practises more: in a burst none does, whose time somebody waits for."""

_MOST_HANDED = 3

Run = Callable[[list[str]], int]


class Forkserver:
    """Forks runners by the orders that come through `link`. `run` is a runner's main program: argv in, exit code out.

    `is_stale` says whether the code on disk is another than what is loaded; `fresh` begins a runner of that code.
    A spare does `practise` before it waits, and `practise_more` when no order has come for a while. `not_for_runners`:
    descriptors that it needs until its order has come.
    """

    def __init__(
        self,
        link: socket.socket,
        run: Run,
        is_stale: Callable[[], bool],
        fresh: Sequence[str] = FRESH,
        practise: Callable[[], object] | None = None,
        practise_more: Callable[[], object] | None = None,
        not_for_runners: Sequence[int] = (),
    ) -> None:
        self._link = link
        self._run = run
        self._is_stale = is_stale
        self._fresh = list(fresh)
        self._practise = practise
        self._practise_more = practise_more
        self._not_for_runners = tuple(not_for_runners)
        self._poll = select.poll()
        self._runners: dict[int, int] = {}  # pidfd -> pid
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._mark_place = _find_room()

    def serve(self) -> None:
        """Until the daemon's end is closed. Raises OSError where the socket breaks in another way."""
        set_title(TITLE)  # now: once the environment is another, the place of titles is not found
        self._say(ForkNews(kind=NewsKind.READY))
        self._poll.register(self._link, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._runners:
                    self._bury(descriptor)
                elif not self._take_order():
                    return

    def _take_order(self) -> bool:
        """Carry out one order; False where there are none any more."""
        try:
            data, handed, flags, _ = socket.recv_fds(self._link, MOST_BYTES, _MOST_HANDED, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        pid = None
        try:
            if not data:
                return False
            asked = json.loads(data)  # not by pydantic's reader: it takes no half surrogates
            if "spares" in asked:
                self._fork_spares(SpareOrder.model_validate(asked))
                return True
            order = ForkOrder.model_validate(asked)
            if not _is_whole(order, handed, flags):
                self._say(ForkNews(kind=NewsKind.REFUSED, number=order.number, why="the order came in part only"))
            elif self._is_stale():
                self._say(ForkNews(kind=NewsKind.STALE, number=order.number))
            else:
                pid = self._fork(order, dict(zip(order.handed, handed, strict=True)))
        finally:
            for descriptor in handed:
                os.close(descriptor)
        if pid is not None:  # not before: each of those may have been the last that we may have
            self._watch(order, pid)
        return True

    def _fork(self, order: ForkOrder, handed: dict[str, int]) -> int | None:
        try:
            pid = os.fork()
        except OSError as error:
            self._say(ForkNews(kind=NewsKind.REFUSED, number=order.number, why=str(error)))
            return None
        if pid == 0:
            self._be_runner(lambda: self._become_runner(order, handed))
        return pid

    def _fork_spares(self, order: SpareOrder) -> None:
        for number in range(order.spares):
            if self._is_stale():
                self._say(ForkNews(kind=NewsKind.STALE))
                return
            try:
                self._fork_spare(order.cgroups[number] if number < len(order.cgroups) else "")
            except OSError as error:
                self._say(ForkNews(kind=NewsKind.REFUSED, why=str(error)))

    def _fork_spare(self, cgroup: str) -> None:
        """Raises OSError, and then there is none."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, its:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be_runner(lambda: self._be_spare(its, cgroup))
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            self._runners[pidfd] = pid
            self._poll.register(pidfd, select.POLLIN)
            self._say(ForkNews(kind=NewsKind.SPARE, pid=pid), [pidfd, ours.fileno()])

    def _watch(self, order: ForkOrder, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # the machine has none left to watch it by: the daemon finds it by its claim
            self._say(ForkNews(kind=NewsKind.FORKED, number=order.number, pid=pid))
            return
        self._runners[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._say(ForkNews(kind=NewsKind.FORKED, number=order.number, pid=pid), [pidfd])

    def _be_runner(self, live: Callable[[], int]) -> NoReturn:
        """A forked process from its first step to its last: nothing of it may go on as a second forkserver."""
        code = EXIT_BUG
        try:
            os.setsid()
            os.dup2(self._null, 0)
            for descriptor in (self._link.fileno(), self._null, *self._runners):
                os.close(descriptor)
            code = live()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else EXIT_BUG
        except BaseException:  # noqa: BLE001 - see above, whatever happened
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _be_spare(self, link: socket.socket, cgroup: str) -> int:
        """Wait for an order, then be that runner. Where none comes any more nothing was begun."""
        set_title(SPARE_TITLE)
        if cgroup:
            enter_cgroup(Path(cgroup))  # where that is refused, the order's runner finds it so
        if self._practise is not None:
            self._practise()
        return self.live_by_order(link, cgroup)

    def live_by_order(self, link: socket.socket, cgroup: str = "") -> int:
        """Take one order, and carry it out in this process; its exit code. `cgroup`: ours, of no use without one."""
        with link:
            if self._practise_more is not None and not _comes_within(link, LEISURE_SECONDS):
                self._practise_more()
            data, handed, flags, _ = socket.recv_fds(link, MOST_BYTES, _MOST_HANDED, socket.MSG_CMSG_CLOEXEC)
        if not data:
            if cgroup:
                leave_cgroup(Path(cgroup))  # whoever would remove it may have ended before us
            return 0
        order = ForkOrder.model_validate(json.loads(data))
        if not _is_whole(order, handed, flags):
            return EXIT_ENVIRONMENT
        by_name: dict[str, int] = dict(zip(order.handed, handed, strict=True))
        if self._is_stale():
            self._begin_afresh(order, by_name)
        return self._become_runner(order, by_name)

    def _begin_afresh(self, order: ForkOrder, handed: dict[str, int]) -> NoReturn:
        for number in (1, 2):
            os.dup2(handed["log"], number)
        for name, descriptor in handed.items():
            os.set_inheritable(descriptor, name != "log")
        argv = [*self._fresh, *with_numbers(order.argv, handed)]
        os.execve(argv[0], argv, order.environment)  # noqa: S606 - as the daemon's plain launcher does, without a shell

    def _become_runner(self, order: ForkOrder, handed: dict[str, int]) -> int:
        for number in (1, 2):
            os.dup2(handed["log"], number)
        for descriptor in (handed["log"], *self._not_for_runners):
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(order.environment)
        self._write_mark(order.environment.get(MARKER_NAME))
        return self._run(with_numbers(order.argv, handed))

    def _write_mark(self, out: str | None) -> None:
        """Show whose process we are, as a program that is started with HAIKUD_OUT does."""
        if self._mark_place is None:
            return
        place, room = self._mark_place
        shown = os.fsencode(f"{MARKER_NAME}={out}") if out else b""
        if len(shown) < room:
            ctypes.memmove(place, shown.ljust(room, b"\0"), room)

    def _bury(self, pidfd: int) -> None:
        pid = self._runners.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._say(ForkNews(kind=NewsKind.ENDED, pid=pid, code=os.waitstatus_to_exitcode(status)))

    def _say(self, news: ForkNews, descriptors: list[int] | None = None) -> None:
        """Best effort: where nobody hears it, the next look at the socket ends us."""
        try:
            socket.send_fds(self._link, [news.model_dump_json(exclude_defaults=True).encode()], descriptors or [])
        except ConnectionError:
            return


def _comes_within(link: socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the other end closed."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _is_whole(order: ForkOrder, handed: list[int], flags: int) -> bool:
    """Whether a message and its descriptors came as they were sent."""
    return not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) and len(handed) == len(order.handed)


def main(argv: list[str]) -> int:
    """Load everything, then serve."""
    parser = argparse.ArgumentParser(prog="haikud-forkserver", description="Forks runners for the daemon.")
    parser.add_argument("--socket-fd", type=int, required=True, help="our end of a pair of packet sockets")
    parser.add_argument("room", help="a place for titles; its text means nothing")
    link = socket.socket(fileno=parser.parse_args(argv).socket_fd)
    link.set_inheritable(False)
    offer_to_oom_killer()  # before: of what cannot be dumped, /proc/self is root's
    sources = _load()
    from haikud.agent.haiku.warming import practise_once_more
    from haikud.agent.rehearsal import practise

    prepare_to_fork()
    pages = of_session = OwnPages()
    server = Forkserver(
        link,
        run_attempt,
        sources.have_changed,
        practise=lambda: None if pages.copy() else practise(),
        practise_more=lambda: of_session.copy() or practise_once_more(),
        not_for_runners=sources.descriptors,
    )
    pages, of_session = _learn_pages(server), learn(practise_once_more)
    make_undumpable()  # not before: of what cannot be dumped, /proc/self is root's
    server.serve()
    return 0


def _learn_pages(server: Forkserver) -> OwnPages:
    """What a spare writes to from its order to its end; nothing where the machine refuses to tell."""
    from haikud.agent.rehearsal import laid_out

    with suppress(OSError), laid_out() as paths:
        words = ["--attempt", str(paths.folder), "--claim-fd", "{claim}", "rehearsal"]
        order = ForkOrder(number=1, argv=words, environment=dict(os.environ), handed=["claim", "log"])
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, its, Path(os.devnull).open("wb") as nothing:
            socket.send_fds(ours, [order.model_dump_json().encode()], [nothing.fileno()] * len(order.handed))
            return learn(lambda: server.live_by_order(its))
    return OwnPages()


def _load() -> Sources:
    """Import what attempts need, and use it once, so that what is made at first use is made."""
    gc.disable()
    import haikud.agent.haiku.session
    import haikud.agent.operations.operate
    import haikud.agent.runner
    import haikud.roles.templates
    import haikud.sandbox.egress.server  # noqa: F401
    from haikud.agent.haiku.warming import practise
    from haikud.agent.rehearsal import rehearse

    practise()
    rehearse()
    return Sources()


def _find_room() -> tuple[int, int] | None:
    """Where ROOM's variable lies in our first environment, and how long it is; None where it is not there."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start and env_end, fields 50 and 51 of proc(5)
        at = ctypes.string_at(start, end - start).find(f"{ROOM}=".encode()) if start else -1
    except (OSError, ValueError, IndexError):
        return None
    if at < 0:
        return None
    return start + at, len(ctypes.string_at(start + at))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
