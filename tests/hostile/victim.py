"""A machine to break into: a user's home, a spool with another's plan, a repository, processes, sockets, a terminal.

All of it is made up and lies in one folder, but for a few names with a token in them in /tmp, /var/tmp, /dev/shm, the
kernel's keys and System V's memory, which are taken away again. The attempt is a real one: the agent's room sets it up,
with the walls and the environment that every untrusted command gets.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.hostile.inside.registry import Attempt
from tests.hostile.inside.system_calls import call, libc
from tests.hostile.listeners import Listeners
from tests.hostile.open_proxy import open_proxy
from tests.support.attempts import Bench
from tests.support.repository import git

from haikud.agent.attempt import Attempt as RealAttempt
from haikud.agent.phases.setup import set_up
from haikud.agent.runner import open_attempt
from haikud.contracts.settings import SandboxSettings
from haikud.workspace.files import remove_folder

REF = "hostile"
INSIDE = Path(__file__).parent / "inside"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
MEMORY_BYTES, FILE_BYTES = 1 << 30, 4 << 20
MORE_PROCESSES = 400
KEY_SPEC_USER_KEYRING, KEYCTL_SETPERM, KEYCTL_INVALIDATE = -4, 5, 21

PREY = ("killed", "pidfd", "group", "owner", "stopped", "traced", "limits", "priority", "cpus")


class Victim:
    """Made in `root` for one mode. `close` takes away what is not in `root`."""

    def __init__(self, root: Path, mode: str) -> None:
        self.root, self.mode = root, mode
        self.token = f"{os.getpid()}-{mode}"
        self.cleanup = contextlib.ExitStack()
        self.values: dict[str, Any] = {
            "file_bytes": FILE_BYTES,
            "memory_bytes": MEMORY_BYTES,
            "more_processes": MORE_PROCESSES,
        }
        self.listeners = Listeners(self.token)
        self.cleanup.callback(self.listeners.close)
        self.bench = Bench(root, ref=REF)
        self._furnish_home()
        self._furnish_spool()
        self._furnish_sockets()
        self._furnish_repository()
        self._furnish_kernel()
        self.processes = self._start_processes()
        self.attempt = self._set_up()

    # -- what the attempts are told ---------------------------------------------------------------------------------

    def secret(self, name: str) -> str:
        """What is to be stolen there."""
        return f"STOLEN-{name.replace(' ', '-')}-{self.token}"

    def place(self) -> dict[str, Any]:
        """The place's description for those inside."""
        attempt = self.attempt
        return {
            "token": self.token,
            "home": self.home,
            "spool": self.spool,
            "repository": self.bench.repository,
            "worktree": attempt.worktree,
            "out": attempt.paths.out,
            "task": attempt.task_paths.folder,
            "attempt": attempt.paths.folder,
            "private_git": attempt.task_paths.private_git,
            "other_worktree": self.bench.repository / "worktrees/theirs",
            "other_task": self.spool / "plans/theirs/theirs",
            "sockets": self.sockets,
            "runtime": self.root / "run",
            "ports": self.listeners.ports,
            "pids": {name: process.pid for name, process in self.processes.items()},
            "values": self.values,
        }

    def path(self, name: str) -> Path:
        """Of what an attempt changes."""
        top, _, rest = name.format(token=self.token).partition("/")
        places = {"home": self.home, "spool": self.spool, "repository": self.bench.repository, "": Path("/")}
        return places[top] / rest

    # -- furniture ----------------------------------------------------------------------------------------------------

    def _write(self, path: Path, secret: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{self.secret(secret) if secret else 'a line of its owner'}\n", encoding="utf-8")
        path.chmod(0o600)

    def _furnish_home(self) -> None:
        self.home = self.root / "home"
        named = {
            ".ssh/id_ed25519": "ssh",
            ".aws/credentials": "aws",
            ".config/gh/hosts.yml": "gh",
            ".git-credentials": "git",
            ".config/haikud/haikud.yaml": "settings",
            "held/open.txt": "open",
        }
        for name, secret in named.items():
            self._write(self.home / name, secret)
        for name in (
            ".bashrc",
            ".ssh/authorized_keys",
            *(f"desk/{n}.txt" for n in ("notes", "plan", "linked", "swapped", "mode")),
        ):
            self._write(self.home / name)
        for name in (".config/systemd/user", ".local/bin"):
            (self.home / name).mkdir(parents=True)
        self._write(self.root / "run/credentials/haikud.service/anthropic_api_key", "key")
        in_tmp = Path(f"/tmp/haikud-hostile-{self.token}")
        self._write(in_tmp, "tmp")
        for folder in ("/tmp", "/var/tmp", "/dev/shm"):
            self.cleanup.callback((Path(folder) / in_tmp.name).unlink, missing_ok=True)

    def _furnish_spool(self) -> None:
        self.spool = self.bench.spool.root
        for name in ("incoming", "guidance", "control", "responses", "escalations", "tasks/running", "tasks/succeeded"):
            (self.spool / name).mkdir(parents=True)
        self._write(self.spool / "daemon.lock")
        self._write(self.spool / "gateway/tokens/theirs.1.json", "token")
        theirs = self.spool / "plans/theirs/theirs"
        self._write(theirs / "attempt-1/spec.json", "plan")
        self._write(theirs / "transcript.jsonl", "transcript")
        (theirs / "attempt-1/out").mkdir()
        self._write(theirs / "git/config")
        self._write(self.bench.spool.task(REF).folder / "decision-0001.json")
        (self.spool / "tasks/running" / REF).symlink_to(f"../../plans/{REF}/{REF}")

    def _furnish_sockets(self) -> None:
        self.sockets = self.root / "run/sockets"
        self.sockets.mkdir(parents=True)
        self.listeners.unix("docker", self.sockets / "docker.sock")
        self.listeners.unix("bus", self.sockets / "bus")
        self.listeners.unix("notify", self.sockets / "notify", datagrams=True)
        self.listeners.unix("messages", self.spool / "gateway/messages.sock")
        self.listeners.unix("daemon", self.spool / "gateway/daemon.sock")
        self.values["terminal"] = self.listeners.terminal()

    def _furnish_repository(self) -> None:
        repository = self.bench.repository
        git(repository, "branch", "packed")
        git(repository, "pack-refs", "--all", "--no-prune")
        git(repository, "worktree", "add", "-q", "-b", "feature/theirs", "worktrees/theirs")
        (repository / ".git/hooks").mkdir(exist_ok=True)
        self._write(repository / ".env", "checkout")
        self._write(repository / "worktrees/theirs/.env", "other worktree")
        self._write(repository / "worktrees/theirs/secret.txt", "committed")
        git(repository / "worktrees/theirs", "add", "secret.txt")
        git(repository / "worktrees/theirs", "commit", "-q", "-m", "Theirs")

    def _furnish_kernel(self) -> None:
        with contextlib.suppress(OSError):
            held = self.secret("keyring").encode()
            key = call(
                "add_key", b"user", f"haikud-hostile-{self.token}".encode(), held, len(held), KEY_SPEC_USER_KEYRING
            )
            call("keyctl", KEYCTL_SETPERM, key, 0x3F3F0000)
            self.cleanup.callback(call, "keyctl", KEYCTL_INVALIDATE, key)
        self.values["shm_key"] = 0x48000000 + os.getpid()
        identifier = libc.shmget(self.values["shm_key"], 4096, 0o1600)
        assert identifier >= 0, os.strerror(ctypes.get_errno())
        libc.shmat.restype = ctypes.c_void_p
        libc.shmdt.argtypes = (ctypes.c_void_p,)
        at = libc.shmat(identifier, None, 0)
        ctypes.memmove(at, self.secret("System V").encode(), len(self.secret("System V")))
        libc.shmdt(at)
        self.cleanup.callback(libc.shmctl, identifier, 0, None)  # IPC_RMID
        handle = (ctypes.c_uint8 * 136)()
        handle[0] = 128
        with contextlib.suppress(OSError):
            path = str(self.home / ".ssh/id_ed25519").encode()
            call("name_to_handle_at", -100, path, handle, (ctypes.c_int * 1)(), 0)
        self.values["handle"] = bytes(handle).hex()

    def _start_processes(self) -> dict[str, subprocess.Popen[bytes]]:
        held = os.open(self.home / "held/open.txt", os.O_RDONLY)
        self.values["held_fd"] = held
        started = {
            "holder": subprocess.Popen(
                [self.secret("command line"), "600"],
                executable="/bin/sleep",
                env={"A_SECRET": self.secret("environment")},
                pass_fds=[held],
            )
        }
        os.close(held)
        for name in PREY:
            started[name] = subprocess.Popen([f"prey-{name}", "600"], executable="/bin/sleep", env={}, process_group=0)
        for process in started.values():
            self.cleanup.callback(process.wait)
            self.cleanup.callback(process.kill)
        fields = Path(f"/proc/{started['holder'].pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        self.values["environment_at"] = int(fields[47])
        return started

    def _set_up(self) -> RealAttempt:
        settings = SandboxSettings.model_validate(
            {
                "mode": self.mode,
                "memory_bytes": MEMORY_BYTES,
                "file_bytes": FILE_BYTES,
                "hosts": [f"127.0.0.1:{self.listeners.ports['listed']}"],
                **self._python(),
            }
        )
        if os.geteuid() != 0:
            settings = settings.model_copy(update={"processes": own_threads() + MORE_PROCESSES // 2})
        self.bench.order("true", sandbox=self.mode, isolation=settings, retry_reason=self.secret("spec"))
        attempt = open_attempt(self.bench.paths.folder, None, threading.Event())
        attempt.events.progress(1, "began")
        self.cleanup.callback(self._end_attempt, attempt)
        set_up(attempt)
        if self.mode == "none":
            attempt.environment["http_proxy"] = self.cleanup.enter_context(open_proxy())
        if port := urlsplit(attempt.environment.get("http_proxy", "")).port:
            self.listeners.tcp("elsewhere", "127.9.9.9", port)
        shutil.copytree(INSIDE, attempt.paths.out / "tools/tests/hostile/inside")
        return attempt

    def _end_attempt(self, attempt: RealAttempt) -> None:
        attempt.sandbox.close()
        for pid in self.survivors():
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _python() -> dict[str, list[str]]:
        """Where the system has no Python, the tests' own is named, as a user would."""
        return {} if PYTHON.startswith("/usr/") else {"readable": [sys.prefix, sys.base_prefix]}

    # -- attempts -------------------------------------------------------------------------------------------------------

    def run(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Let them try, inside; what each says that it got. The tree is ended as a runner does it."""
        out = self.attempt.paths.out
        (out / "place.json").write_text(json.dumps(self.place(), default=str), encoding="utf-8")
        results, said = out / "found.jsonl", bytearray()
        ended = self.attempt.sandbox.run(
            [PYTHON, "-B", "-m", "tests.hostile.inside.driver", str(out / "place.json"), str(results), *names],
            cwd=self.attempt.worktree,
            env={**self.attempt.environment, "PYTHONPATH": str(out / "tools"), "PYTHONSAFEPATH": "1"},
            timeout=100,
            grace=0.2,
            on_output=said.extend,
        )
        assert ended.exit_code == 0, f"{ended}: {said.decode(errors='replace')[-3000:]}"
        found = [json.loads(line) for line in results.read_bytes().splitlines()]
        results.unlink()
        return {line["name"]: line for line in found}

    def survivors(self) -> dict[int, str]:
        """Processes that should have ended, by what they are called."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    called = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                    if called.startswith(f"haikud-hostile-{self.token}-"):
                        found[int(folder.name)] = called.rpartition("-")[2]
        return found

    def close(self) -> None:
        """End and remove everything."""
        self.cleanup.close()
        remove_folder(self.attempt.task_paths.private_git)  # it may be deeper than pytest can clear away


def own_threads() -> int:
    """What the kernel counts against the limit of processes."""
    count = 0
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == os.getuid():
                count += len(list((folder / "task").iterdir()))
    return count


def state_of(path: Path) -> object:
    """All of a file that an attempt might change."""
    try:
        found = path.lstat()
    except OSError:
        return None
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    return found.st_mode, content


HARMED: dict[str, Callable[[int], bool]] = {
    "limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == 5,
    "priority": lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == 15,
    "cpus": lambda pid: len(os.sched_getaffinity(pid)) < len(os.sched_getaffinity(0)),
}


def came_to_harm(victim: Victim, name: str) -> bool:
    """Whether that process is gone, stopped, or hindered."""
    process = victim.processes[name]
    if process.poll() is not None:
        return True
    if name in HARMED:
        return HARMED[name](process.pid)
    return "\nState:\tT" in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")


def judge(victim: Victim, attempt: Attempt, found: dict[str, Any] | None, before: dict[str, object]) -> bool:
    """Whether it got through."""
    if attempt.survives:
        return attempt.name in victim.survivors().values()
    if attempt.reaches is not None:
        return attempt.name in victim.listeners.heard(attempt.reaches)
    if attempt.harms is not None:
        return came_to_harm(victim, attempt.harms)
    if attempt.changes is not None:
        return state_of(victim.path(attempt.changes)) != before[attempt.changes]
    got = found["got"] if found else None
    if attempt.steals is not None:
        return victim.secret(attempt.steals) in str(got)
    return bool(got)


def restore(victim: Victim, before: dict[str, object]) -> None:
    """Put back what was changed."""
    for name, state in before.items():
        path = victim.path(name)
        if state_of(path) == state:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if isinstance(state, tuple):
            mode, content = state
            path.write_bytes(content)
            path.chmod(stat.S_IMODE(mode))
