"""Who is measured: each is started once, given the same program to run, and ended.

What cannot be measured on this machine says why (`missing`). Each has two slots and is used as its documentation has it
for speed: task-spooler stores no output (`-n`), nq tidies up (`-c`) and has two queues since one has one slot, huey
keeps no results and has two threads, each of which spawns the program without a shell.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from benchmarks.figures import say
from benchmarks.stamp import Stamp
from tests.support.waiting import wait_until

SLOTS = 2

BARE_SPAWN, BARE_LOOP = "posix_spawn alone", "bare loop that fsyncs"
TASK_SPOOLER, NQ, HUEY = "task-spooler", "nq", "huey (sqlite)"
HAIKUD, HAIKUD_ORDINARY = "haikud, no worktree", "haikud, ordinary"


class Contender(ABC):
    """One way to have the program run. `durability`: what a kill -9 of it, and a power cut, take with them."""

    name: str
    durability: str

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        self.folder = folder
        self.stamp = stamp
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; "" where it can."""
        return ""

    def start(self) -> None:  # noqa: B027 - the default is that nothing needs to run
        """Start what must run before a first program can."""

    @abstractmethod
    def drop(self) -> int:
        """Ask for one more; returns when that began, on the stamp's clock."""

    def drop_many(self, number: int) -> None:
        """Ask for so many, as fast as one producer can."""
        for _ in range(number):
            self.drop()

    def settled(self) -> int | None:
        """Wait until the last one asked for is wholly done; when its answer was there, where there are answers."""
        return None

    def close(self) -> None:  # noqa: B027 - the default is that nothing runs
        """End what was started."""


def run(argv: list[str], env: dict[str, str]) -> None:
    """Start a program with its output thrown away, and wait for its end."""
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    os.waitpid(os.posix_spawn(argv[0], argv, env, file_actions=silence), 0)


def end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill it, where it was started."""
    if process is not None:
        process.kill()
        process.wait()


def is_here(kind: type[Contender]) -> bool:
    """Whether it can be measured; if not, says why."""
    if why := kind.missing():
        say(f"{kind.name}: not measured: {why}")
    return not why


def start_all(contenders: Sequence[Contender], stack: ExitStack) -> None:
    """Start each, and have it ended with the stack, whatever happens."""
    for one in contenders:
        stack.callback(one.close)
        one.start()


class Spawn(Contender):
    """The floor: the kernel starts a program and waits for it."""

    name = BARE_SPAWN
    durability = "nothing is kept"

    def drop(self) -> int:
        """Start it ourselves."""
        began = self.stamp.now()
        self.pid = os.posix_spawn(self.stamp.argv[0], self.stamp.argv, os.environ)
        return began

    def drop_many(self, number: int) -> None:
        """Two at a time; the older one is waited for."""
        running: deque[int] = deque()
        for _ in range(number):
            if len(running) == SLOTS:
                os.waitpid(running.popleft(), 0)
            self.drop()
            running.append(self.pid)
        while len(running) > 1:  # the last one's end is waited for as after any other drop
            os.waitpid(running.popleft(), 0)

    def settled(self) -> None:
        """Wait for its end."""
        os.waitpid(self.pid, 0)


class Loop(Contender):
    """benchmarks.bare_loop in a process of its own."""

    name = BARE_LOOP
    durability = "keeps what waits; cannot tell what had run"
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The loop, watching."""
        for folder in ("incoming", "running", "done"):
            (self.folder / folder).mkdir()
        command = [sys.executable, "-m", "benchmarks.bare_loop", str(self.folder), str(SLOTS), *self.stamp.argv]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
        wait_until(self._is_watching, what="the bare loop to watch")
        self.numbers = count()

    def _is_watching(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the bare loop ended"
        with suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
            folder = Path(f"/proc/{self.process.pid}/fdinfo")
            return any("inotify wd" in path.read_text(encoding="ascii") for path in folder.iterdir())
        return False

    def drop(self) -> int:
        """A file, renamed into its folder."""
        self.last = f"{next(self.numbers)}.json"
        hidden = f"{self.folder}/incoming/.{self.last}"
        with open(hidden, "wb") as file:  # noqa: PTH123 - a producer's time counts in a burst
            file.write(b"{}")
        began = self.stamp.now()
        os.rename(hidden, f"{self.folder}/incoming/{self.last}")  # noqa: PTH104
        return began

    def settled(self) -> None:
        """Wait until the last file is done."""
        wait_until((self.folder / "done" / self.last).exists, what="the bare loop", pause=0.005)

    def close(self) -> None:
        """End the loop."""
        end(self.process)


class TaskSpooler(Contender):
    """Debian's task-spooler: a daemon that holds its queue in memory; a client waits in line for each program."""

    name = TASK_SPOOLER
    durability = "loses everything"

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        super().__init__(folder, stamp)
        self.program = str(shutil.which("tsp"))
        self.env = {
            "PATH": os.environ["PATH"],
            "TS_SOCKET": str(folder / "socket"),
            "TMPDIR": str(folder),
            "TS_SLOTS": str(SLOTS),
        }

    @classmethod
    def missing(cls) -> str:
        """Debian calls the program tsp."""
        return "" if shutil.which("tsp") else "no tsp; on Debian: apt-get install task-spooler"

    def start(self) -> None:
        """Its daemon, which the first client would start."""
        run([self.program, "-S", str(SLOTS)], self.env)

    def drop(self) -> int:
        """Its client, to the end of what it does in the foreground."""
        began = self.stamp.now()
        run([self.program, "-n", *self.stamp.argv], self.env)
        return began

    def settled(self) -> None:
        """Wait for the last one."""
        run([self.program, "-w"], self.env)

    def close(self) -> None:
        """End the daemon; where there is none, this starts and ends one."""
        run([self.program, "-K"], self.env)


class Nq(Contender):
    """Debian's nq: no daemon; each program waits for those before it by their locks."""

    name = NQ
    durability = "loses what waits; a running one goes on"

    @classmethod
    def missing(cls) -> str:
        """One program."""
        return "" if shutil.which("nq") else "no nq; on Debian: apt-get install nq"

    def start(self) -> None:
        """Two queues, by turns."""
        self.program = str(shutil.which("nq"))
        self.queues = [{"PATH": os.environ["PATH"], "NQDIR": str(self.folder / f"queue{n}")} for n in range(SLOTS)]
        self.numbers = count()

    def drop(self) -> int:
        """One call of it."""
        queue = self.queues[next(self.numbers) % SLOTS]
        began = self.stamp.now()
        run([self.program, "-q", "-c", *self.stamp.argv], queue)
        return began

    def settled(self) -> None:
        """Wait until nobody of either queue is left."""
        wait_until(lambda: not any(self.folder.glob("queue*/,*")), what="nq's queues to be empty", pause=0.005)


HUEY_APP = """
import os
from huey import SqliteHuey
huey = SqliteHuey(filename={file!r}, results=False)

@huey.task()
def spawn(argv):
    os.waitpid(os.posix_spawn(argv[0], argv, os.environ), 0)
"""


class Huey(Contender):
    """huey with its sqlite storage, fsync on (sqlite's default), which it asks every tenth of a second when idle."""

    name = HUEY
    durability = "keeps what waits; loses what runs"
    process: subprocess.Popen[bytes] | None = None
    producer: Any

    @classmethod
    def missing(cls) -> str:
        """From PyPI, with the extra `bench`."""
        found = importlib.util.find_spec("huey")
        return "" if found else "no huey; make bench installs it: pip install -e '.[bench]'"

    def start(self) -> None:
        """Its consumer, and its queue as the producer sees it."""
        app = self.folder / "bench_huey.py"
        app.write_text(HUEY_APP.format(file=str(self.folder / "huey.db")), encoding="utf-8")
        spec = importlib.util.spec_from_file_location("bench_huey", app)
        assert spec is not None
        assert spec.loader is not None
        self.producer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.producer)
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "bench_huey.huey"]
        options = ["-w", str(SLOTS), "-k", "thread", "-n", "-q", "-d", "0.1", "-m", "0.1"]
        log = self.folder / "consumer.log"
        with log.open("wb") as said:
            env = {**os.environ, "PYTHONPATH": str(self.folder)}
            self.process = subprocess.Popen([*consumer, *options], cwd=self.folder, env=env, stdout=said, stderr=said)
        self.drop()
        assert self.stamp.read(1), log.read_text(encoding="utf-8")

    def drop(self) -> int:
        """A call of the decorated function."""
        began = self.stamp.now()
        self.producer.spawn(self.stamp.argv)
        return began

    def settled(self) -> None:
        """Wait until nothing it started is left."""
        assert self.process is not None
        consumer = psutil.Process(self.process.pid)
        wait_until(lambda: not consumer.children(), what="huey's program to end", pause=0.005)

    def close(self) -> None:
        """End the consumer."""
        end(self.process)


OTHERS: tuple[type[Contender], ...] = (Spawn, Loop, TaskSpooler, Nq, Huey)
