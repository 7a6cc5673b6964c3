"""Runs a program with everything that it starts, lists their calls that change something, and kills at one of them.

    python tests/crash/tracer.py --root DIR --record FILE [--kill WHO|CALL|PATH|N] -- PROGRAM ARGS...

WHO is `daemon`, `runner REF.N` or `git REF.N`: the git programs that this runner started. CALL is the system call's
name, PATH what it changes (several are joined by ` -> `), beneath DIR, with what is random in it replaced by `*`. N
counts the equal ones from 1. `WHO|@|N` is simply the N-th call of WHO, whatever it is. Killed is the daemon or the
runner, and with a runner the git that made the call, before the call has happened.

Says one line on stdout when it has killed: `killed PID KEY`. FILE gets a line of JSON per call, with the thread's
ordinal. Ends with the last process that it follows, which may be long after the daemon; SIGTERM to it kills them all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.crash import kernel

_TWO_PATHS = {"rename": (0, 1), "link": (0, 1), "symlink": (1,)}
_TWO_AT = {"renameat": ((0, 1), (2, 3)), "renameat2": ((0, 1), (2, 3)), "linkat": ((0, 1), (2, 3))}
_AT = {"openat": (0, 1), "openat2": (0, 1), "unlinkat": (0, 1), "mkdirat": (0, 1), "mknodat": (0, 1)}
_AT |= {"fchmodat": (0, 1), "symlinkat": (1, 2)}
_BY_PATH = frozenset({"open", "creat", "unlink", "mkdir", "rmdir", "mknod", "truncate", "chmod"})
_PATHLESS = frozenset({"fork", "vfork", "clone", "pidfd_send_signal"})

_RANDOM = (
    (re.compile(r"\.taken-[0-9a-f]{16}-"), ".taken-*-"),
    (re.compile(r"\.rejected-[0-9a-f]{16}"), ".rejected-*"),
    (re.compile(r"\.[0-9]+-[0-9a-f]{8}(?=\.tmp|$| )"), ".*"),
    (re.compile(r"objects/[0-9a-f]{2}(?=/|$)"), "objects/*"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{38,40}(?![0-9a-f])"), "*"),
    (re.compile(r"(tmp_obj_|tmp_pack_|tmp_idx_|\.tmp-)[A-Za-z0-9]+"), r"\1*"),
    (re.compile(r"\.[0-9a-f]{16}(?=/|$| )"), ".*"),
)


@dataclass
class Program:
    """A process that we follow, since it became what it is."""

    who: str  # daemon, runner REF.N, git REF.N, agent REF.N; or what its parent is, with a `+`: forked, nothing run yet
    threads: dict[int, int] = field(default_factory=dict)  # tid -> ordinal


class Tracer:
    """See the module's head."""

    def __init__(self, root: str, record: TextIO, kill: str | None) -> None:
        self._root = root.rstrip("/") + "/"
        self._record = record
        self._kill = kill
        self._programs: dict[int, Program] = {}
        self._groups: dict[int, int] = {}  # tid -> pid
        self._seen: Counter[str] = Counter()
        self._dying: tuple[int, str] | None = None

    def run(self, argv: list[str]) -> None:
        """Until no process is left."""
        first = kernel.start_traced(argv)
        self._programs[first] = Program("start")
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))  # EXITKILL ends what we follow
        while True:
            try:
                tid, status = os.waitpid(-1, kernel.WALL)
            except ChildProcessError:
                return
            if os.WIFSTOPPED(status):
                with suppress(ProcessLookupError):  # killed meanwhile
                    self._stopped(tid, os.WSTOPSIG(status), status >> 16)
            else:
                self._groups.pop(tid, None)
                self._programs.pop(tid, None)
                if self._dying and tid == self._dying[0]:
                    sys.stdout.write(f"killed {self._dying[0]} {self._dying[1]}\n")
                    sys.stdout.flush()
                    self._dying = None

    def _stopped(self, tid: int, number: int, event: int) -> None:
        if event == kernel.EVENT_SECCOMP:
            dies = False
            with suppress(FileNotFoundError):  # of /proc: it dies for another reason
                dies = self._dies_at(tid)
            if not dies:
                kernel.go_on(tid)
        elif event in kernel.EVENT_FORKS:
            with suppress(OSError):  # the child is gone already
                child, pid = kernel.new_child(tid), self._group(tid)
                if self._group(child) == child and child not in self._programs:
                    self._programs[child] = Program(self._program(pid).who.rstrip("+") + "+")
            kernel.go_on(tid)
        elif event == kernel.EVENT_EXEC:
            with suppress(FileNotFoundError):
                self._became(tid)
            kernel.go_on(tid)
        elif event == kernel.EVENT_STOP:
            stops = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
            kernel.stay_stopped(tid) if number in stops else kernel.go_on(tid)
        else:
            kernel.go_on(tid, number)

    def _group(self, tid: int) -> int:
        if tid not in self._groups:
            text = Path(f"/proc/{tid}/status").read_text(encoding="utf-8", errors="replace")
            self._groups[tid] = int(text.partition("Tgid:")[2].split()[0])
        return self._groups[tid]

    def _program(self, pid: int) -> Program:
        if pid not in self._programs:  # its first stop came before its parent's word of it
            text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            parent = self._programs.get(int(text.partition("PPid:")[2].split()[0]))
            self._programs[pid] = Program((parent.who.rstrip("+") if parent else "") + "+")
        return self._programs[pid]

    def _became(self, pid: int) -> None:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        before = self._program(pid).who.rstrip("+")
        who = f"other {before}"
        if "haikud.agent" in argv and "--attempt" in argv:
            attempt = Path(argv[argv.index("--attempt") + 1])
            who = f"runner {argv[-1]}.{attempt.name.removeprefix('attempt-')}"
        elif "haikud.interfaces" in argv and "run" in argv:
            who = "daemon"
        elif before.startswith(("runner", "git")) and Path(argv[0]).name.startswith("git"):
            who = f"git {before.partition(' ')[2]}"
        elif before.startswith("runner"):
            who = f"agent {before.partition(' ')[2]}"
        elif before.startswith(("agent", "other")):
            who = before
        self._programs[pid] = Program(who)

    def _dies_at(self, tid: int) -> bool:
        """Note the call; whether its process was killed before it."""
        pid = self._group(tid)
        program = self._program(pid)
        if program.who.endswith("+") or not program.who.startswith(("daemon", "runner", "git")):
            return False
        call = kernel.call_at_stop(tid)
        paths = [] if call.name in _PATHLESS else self._paths(pid, tid, call)
        if paths is None or not (call.name in _PATHLESS or any(path.startswith(self._root) for path in paths)):
            return False
        shown = " -> ".join(_plain(path.removeprefix(self._root)) for path in paths)
        key = f"{program.who}|{call.name}|{shown}"
        self._seen[key] += 1
        self._seen[f"{program.who}|@"] += 1
        names = {f"{key}|{self._seen[key]}", f"{program.who}|@|{self._seen[program.who + '|@']}"}
        thread = program.threads.setdefault(tid, len(program.threads))
        facts = {"thread": thread, "main": tid == pid, "idle": _changes_nothing(call.name, paths)}
        self._record.write(json.dumps({"key": f"{key}|{self._seen[key]}", **facts}) + "\n")
        self._record.flush()
        if self._kill not in names:
            return False
        self._kill = None
        victim = pid if not program.who.startswith("git") else self._runner_of(program.who)
        for doomed in {victim, pid}:
            os.kill(doomed, signal.SIGKILL)
        self._dying = (victim, f"{key}|{self._seen[key]}")
        return True

    def _runner_of(self, who: str) -> int:
        name = f"runner {who.partition(' ')[2]}"
        return next(pid for pid, program in self._programs.items() if program.who == name)

    def _paths(self, pid: int, tid: int, call: kernel.RawCall) -> list[str] | None:
        """What the call is about, absolute; None where that cannot be told."""
        args = call.args
        try:
            if call.name in _TWO_PATHS:
                return [self._path(pid, kernel.AT_FDCWD, kernel.text_at(tid, args[n])) for n in _TWO_PATHS[call.name]]
            if call.name in _TWO_AT:
                return [self._path(pid, args[d], kernel.text_at(tid, args[n])) for d, n in _TWO_AT[call.name]]
            if call.name in _AT:
                folder, name = _AT[call.name]
                return [self._path(pid, args[folder], kernel.text_at(tid, args[name]))]
            if call.name in _BY_PATH:
                return [self._path(pid, kernel.AT_FDCWD, kernel.text_at(tid, args[0]))]
            descriptor = args[2] if call.name == "copy_file_range" else args[0]
            return [str(Path(f"/proc/{pid}/fd/{kernel.as_signed(descriptor)}").readlink())]
        except OSError:
            return None

    @staticmethod
    def _path(pid: int, folder: int, name: str) -> str:
        if not name.startswith("/"):
            at = kernel.as_signed(folder)
            base = Path(f"/proc/{pid}/cwd" if at == kernel.AT_FDCWD else f"/proc/{pid}/fd/{at}").readlink()
            name = f"{base}/{name}"
        return os.path.normpath(name)


def _changes_nothing(name: str, paths: list[str]) -> bool:
    """Whether it will be refused: what is to be removed is not there, or what is to be made is."""
    if name in {"unlink", "unlinkat", "rmdir"}:
        return not os.path.lexists(paths[0])
    return name in {"mkdir", "mkdirat"} and os.path.lexists(paths[0])


def _plain(path: str) -> str:
    for pattern, instead in _RANDOM:
        path = pattern.sub(instead, path)
    return path


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description="Kill a process at one system call.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--kill")
    parser.add_argument("argv", nargs="+")
    arguments = parser.parse_args()
    with arguments.record.open("w", encoding="utf-8") as record:
        Tracer(arguments.root, record, arguments.kill).run(arguments.argv)


if __name__ == "__main__":
    main()
