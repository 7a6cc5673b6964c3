"""The forkserver: it has imported everything that an attempt may need, and forks a runner whenever the daemon says so.

`python -m haikud.agent.forkserver --socket-fd N ROOM`. One thread, no secret, no descriptor of the daemon's but the
socket. A runner is a session leader with its own log as stdout and stderr, an environment built from nothing, and no
descriptor but claim and key; what of the parent's is to be seen from outside (command line, environment) is written
over: ROOM, and a variable of that name, are the places for it. Everything that holds a thread, a connection or a
random state is made after the fork.

It ends when the daemon's end of the socket closes; runners go on. Once a file of its code is another than the one it
has loaded, it forks no more and says so: a runner must not mix two versions.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from haikud.agent.__main__ import EXIT_BUG, set_title
from haikud.agent.__main__ import main as run_attempt
from haikud.agent.shared_heap import prepare_to_fork
from haikud.contracts.forking import MOST_BYTES, ROOM, ForkNews, ForkOrder, NewsKind, with_numbers
from haikud.sandbox.prctl import make_undumpable, offer_to_oom_killer
from haikud.sandbox.process_table import MARKER_NAME
from haikud.spool.claims import own_identity

TITLE = "haikud-forkserver"

_MOST_HANDED = 3

Run = Callable[[list[str]], int]


class Forkserver:
    """Forks runners by the orders that come through `link`. `run` is a runner's main program: argv in, exit code out.

    `is_stale` says whether the code on disk is another than what is loaded.
    """

    def __init__(self, link: socket.socket, run: Run, is_stale: Callable[[], bool]) -> None:
        self._link = link
        self._run = run
        self._is_stale = is_stale
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
            order = ForkOrder.model_validate(json.loads(data))  # not by pydantic's reader: it takes no half surrogates
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(handed) != len(order.handed):
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
            self._become_runner(order, handed)
        return pid

    def _watch(self, order: ForkOrder, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # the machine has none left to watch it by: the daemon finds it by its claim
            self._say(ForkNews(kind=NewsKind.FORKED, number=order.number, pid=pid))
            return
        self._runners[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._say(ForkNews(kind=NewsKind.FORKED, number=order.number, pid=pid), [pidfd])

    def _become_runner(self, order: ForkOrder, handed: dict[str, int]) -> NoReturn:
        code = EXIT_BUG
        try:
            os.setsid()
            os.dup2(self._null, 0)
            for number in (1, 2):
                os.dup2(handed["log"], number)
            for descriptor in (self._link.fileno(), self._null, handed["log"], *self._runners):
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(order.environment)
            self._write_mark(order.environment.get(MARKER_NAME))
            code = self._run(with_numbers(order.argv, handed))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else EXIT_BUG
        except BaseException:  # noqa: BLE001 - a runner must not go on as a second forkserver, whatever happened
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

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


class Sources:
    """The files that our code was loaded from, as they were; what came meanwhile may not be what is loaded."""

    def __init__(self) -> None:
        files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if _is_watched(name)]
        self._seen = {file: _look(file) for file in files if file}
        began, now = _began(), time.time_ns()  # what is of the future says that a clock was set
        self._is_mixed = any(seen and began < seen.st_ctime_ns <= now for seen in self._seen.values())

    def have_changed(self) -> bool:
        """Whether one of them is another by now, or gone, or already was when we had loaded."""
        return self._is_mixed or any(_sign(_look(file)) != _sign(seen) for file, seen in self._seen.items())


def main(argv: list[str]) -> int:
    """Load everything, then serve."""
    parser = argparse.ArgumentParser(prog="haikud-forkserver", description="Forks runners for the daemon.")
    parser.add_argument("--socket-fd", type=int, required=True, help="our end of a pair of packet sockets")
    parser.add_argument("room", help="a place for titles; its text means nothing")
    link = socket.socket(fileno=parser.parse_args(argv).socket_fd)
    link.set_inheritable(False)
    offer_to_oom_killer()  # before: of what cannot be dumped, /proc/self is root's
    server = Forkserver(link, run_attempt, _load().have_changed)
    make_undumpable()
    prepare_to_fork()
    server.serve()
    return 0


def _load() -> Sources:
    """Import what attempts need, and use it once, so that what is made at first use is made."""
    gc.disable()
    import haikud.agent.haiku.session
    import haikud.agent.operations.operate
    import haikud.agent.runner
    import haikud.roles.templates
    import haikud.sandbox.egress.server  # noqa: F401
    from haikud.agent.haiku.warming import warm_up
    from haikud.agent.rehearsal import rehearse

    warm_up()
    rehearse()
    return Sources()


def _is_watched(name: str) -> bool:
    """Our own modules all; of every other package its first, which an upgrade replaces too."""
    return name.startswith("haikud.") or "." not in name


def _look(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)  # noqa: PTH116 - hundreds of them for each fork
    except OSError:
        return None


def _sign(found: os.stat_result | None) -> tuple[int, int] | None:
    return (found.st_mtime_ns, found.st_ino) if found is not None else None


def _began() -> int:
    """When this process was started, at the latest: in nanoseconds, by the clock of files' times."""
    ticks = own_identity().start_time + 1
    seconds_ago = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int(seconds_ago * 1_000_000_000)


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
