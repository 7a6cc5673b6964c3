"""A daemon seen from outside: files in, files out, signals in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

from haikud.sandbox.cgroups import cgroup_name, is_populated, kill_cgroup, own_cgroup, remove_cgroup

SOURCE = Path(__file__).resolve().parents[2] / "daemon"

GATED = 'touch "$HAIKUD_OUT/here"; while [ ! -e "{gate}" ]; do sleep 0.1; done'
"""An agent that is at work until somebody makes the file `gate`."""

PRICES = {
    "claude-haiku-5-5": {"input": 0.10, "output": 0.50, "cache_read": 0.01},
    "claude-sonnet-5-5": {"input": 2.0, "output": 10.0, "cache_read": 0.10},
}
"""What genai-prices says of requests up to 100,000 tokens: loading it takes a gateway a quarter of a second."""

QUICK = {
    "settle_seconds": 0.3,
    "rescan_seconds": 2.0,
    "min_free_bytes": 0,
    "retries": {"waits": [0.05, 0.1]},
    "limits": {"grace_seconds": 1.0},
    "api": {"retry_waits": [0.05, 0.1], "stall_seconds": 2.0, "connect_seconds": 2.0},
    "prices": PRICES,
    "sandbox": {"mode": "none"},
    "launcher": "subprocess",
}
"""Settings that make waits and starts short, and let tests have filesystems as small as they like."""


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`base` with `more` laid over it, group by group."""
    out = dict(base)
    for key, value in more.items():
        old = out.get(key)
        out[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out


@dataclass
class House:
    """A folder with a repository, a spool, roles and settings; and the daemon that serves them."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    wrapper: list[str] = field(default_factory=list)  # a command that the daemon is started by, and becomes

    def __post_init__(self) -> None:
        self.repository = make_repository(self.root / "project")
        self.spool = self.root / "spool"
        self.roles = self.root / "roles"
        self.roles.mkdir()
        self.config = self.root / "haikud.yaml"

    # -- the daemon -------------------------------------------------------------------------------------------------

    def base_environment(self) -> dict[str, str]:
        """What every process of this house gets: this source tree, no credentials of the machine's."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.root / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(SOURCE),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **self.environment,
        }

    def command(self) -> list[str]:
        """Write the settings, and say how `haikud run` is called with them."""
        settings = merged(
            {"roles_dir": str(self.roles), "default_repository": str(self.repository), **QUICK}, self.settings
        )
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        (self.root / "home").mkdir(exist_ok=True)
        run = (sys.executable, "-m", "haikud.interfaces", "run")
        return [*run, "--spool", str(self.spool), "--config", str(self.config)]

    def start(self, *, wait: bool = True) -> House:
        """Start `haikud run`; returns when status.json names it."""
        command = self.command()
        with (self.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.base_environment(),
                cwd=self.root,
                start_new_session=True,
            )
        self.processes.append(self.process)
        if wait:
            wait_until(self.is_ready, what=lambda: f"the daemon to be ready; it said: {self.said()[-2000:]}")
        return self

    def is_ready(self) -> bool:
        """Whether status.json is this daemon's."""
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self.said()[-3000:]}"
        try:
            status = self.read("status.json")
        except ValueError:  # what a power cut left of the last daemon's
            return False
        return status is not None and status["daemon"]["pid"] == self.process.pid

    def said(self) -> str:
        """All that daemons of this house wrote to stderr."""
        path = self.root / "daemon.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def send(self, number: int) -> None:
        """A signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, *, seconds: float = 20.0) -> int:
        """Wait for the daemon's end; its exit code."""
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """KILL to the daemon, and its end."""
        self.send(signal.SIGKILL)
        self.ended()

    def close(self) -> None:
        """End everything that this house started, runners and agents included."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=20)
        for left in [*self.gateways(), *self.leftovers()]:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        spool, cgroup = self.read("FORMAT"), own_cgroup()
        if spool is not None and cgroup is not None:  # those of attempts that were never settled
            for folder in cgroup.glob(cgroup_name(spool["spool_id"], "*")):
                kill_cgroup(folder)
                wait_until(partial(is_empty, folder), what=f"{folder} to be empty")
                remove_cgroup(folder)

    def gateways(self) -> list[psutil.Process]:
        """The gateways of this spool that are alive."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                argv = process.cmdline()
                if "haikud.gateway" in argv and str(self.spool) in argv and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def leftovers(self) -> list[psutil.Process]:
        """Runners and agents of this spool that are alive."""
        found = []
        daemons = {process.pid for process in self.processes} | {process.pid for process in self.gateways()}
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid in daemons:
                    continue
                if any(str(self.spool) in part for part in process.cmdline()) or str(
                    self.spool
                ) in process.environ().get("HAIKUD_OUT", ""):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    # -- files in ---------------------------------------------------------------------------------------------------

    def role(self, name: str, script: str, **front: Any) -> str:
        """A role whose agent is this shell script."""
        path = self.roles / f"{name}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        head = yaml.safe_dump(
            {"name": name, "description": f"Test role {name}.", "command": [str(path)], **front}, sort_keys=False
        )
        (self.roles / f"{name}.md").write_text(f"---\n{head}---\nA role of the tests.\n", encoding="utf-8")
        return name

    def drop(self, folder: str, name: str, content: bytes | str | dict[str, Any]) -> None:
        """Drop a file the right way: write a dot-name, rename it."""
        if isinstance(content, dict):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        hidden = self.spool / folder / f".{name}.dropping"
        hidden.write_bytes(data)
        hidden.rename(self.spool / folder / name)

    def request(self, task_id: str, *, role: str | None = None, **fields: Any) -> None:
        """Drop a small plan file."""
        document: dict[str, Any] = {"task_id": task_id, "title": f"Do {task_id}", **fields}
        if role:
            document["role"] = role
        self.drop("incoming", f"{task_id}.json", document)

    # -- files out --------------------------------------------------------------------------------------------------

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the spool, or None where there is none."""
        try:
            loaded = json.loads((self.spool / name).read_bytes())
        except FileNotFoundError:
            return None
        assert isinstance(loaded, dict)
        return loaded

    def response(self, name: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """The response of that id, waited for."""
        found = wait_until(
            lambda: self.read(f"responses/{name}.json"),
            seconds=seconds,
            what=lambda: f"the response {name}; {self.tail()}",
        )
        assert found is not None
        return found

    def tail(self) -> str:
        """The ends of all logs, for a failing test's message."""
        logs = sorted((self.spool / "logs").glob("*.log")) if self.spool.exists() else []
        parts = [f"daemon: {self.said()[-3000:]}"]
        parts += [f"{p.name}: {p.read_text(errors='replace')[-2000:]}" for p in logs[-3:] if p.exists()]
        return "\n".join(parts)

    def log(self, ref: str) -> str:
        """The agent's log."""
        path = self.spool / "logs" / f"agent-{ref}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def state(self, ref: str) -> str | None:
        """Which folder of tasks/ holds the task: an answer is out a moment before its mark, which is waited for."""
        plan_id, _, task_id = ref.partition(".")

        def linked() -> str | None:
            folders = (self.spool / "tasks").iterdir()
            return next((folder.name for folder in folders if (folder / ref).is_symlink()), None)

        def is_marked() -> bool:
            decisions = self.decisions(plan_id, task_id)
            return not decisions or decisions[-1]["state"] == linked()

        with suppress(AssertionError, ValueError):  # a daemon that is down, or kept from it: then this is how it stands
            wait_until(is_marked, seconds=5)
        return linked()

    def decisions(self, plan_id: str, task_id: str | None = None) -> list[dict[str, Any]]:
        """All decisions on a task, in order."""
        folder = self.spool / "plans" / plan_id / (task_id or plan_id)
        return [json.loads(p.read_bytes()) for p in sorted(folder.glob("decision-*.json"))]

    def task_folder(self, ref: str) -> Path:
        """plans/PLAN/TASK."""
        plan_id, _, task_id = ref.partition(".")
        return self.spool / "plans" / plan_id / (task_id or plan_id)

    def at_work(self, ref: str, attempt: int = 1, *, name: str = "here") -> None:
        """Wait until the agent has made that file in its out/."""
        path = self.task_folder(ref) / f"attempt-{attempt}" / "out" / name
        wait_until(path.exists, seconds=60, what=lambda: f"{ref} to be at work; {self.tail()}")

    def runner_pid(self, ref: str, attempt: int = 1) -> int:
        """The pid of an attempt's runner, as runner.json has it."""
        return int(json.loads((self.task_folder(ref) / f"attempt-{attempt}" / "runner.json").read_bytes())["pid"])

    def rejected(self) -> dict[str, dict[str, Any]]:
        """Every reason in rejected/, by the file's stored name."""
        folder = self.spool / "rejected"
        return {p.name.removesuffix(".reason.json"): json.loads(p.read_bytes()) for p in folder.glob("*.reason.json")}

    # -- the command line ---------------------------------------------------------------------------------------------

    def haikud(self, *args: str, seconds: float = 60.0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this spool."""
        return subprocess.run(
            [sys.executable, "-m", "haikud.interfaces", *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=self.repository,
            env={**self.base_environment(), "HAIKUD_SPOOL": str(self.spool), "HAIKUD_CONFIG": str(self.config)},
        )


def is_empty(cgroup: Path) -> bool:
    """Whether nobody is in that cgroup any more."""
    return not is_populated(cgroup)
