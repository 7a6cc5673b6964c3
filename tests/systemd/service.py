"""The service in a machine of the tests: what it is asked, what it is given, what comes back."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.waiting import wait_until
from tests.systemd.machine import Machine

ROLES = {
    "commits": 'echo "$HAIKUD_REF" > made && git add made && git commit -qm "Make made" && echo done',
    "gated": 'touch "$HAIKUD_OUT/here"; while [ ! -e "{home}/gate" ]; do sleep 0.1; done; mktemp',
    "eats": "set -o pipefail; head -c 2000M /dev/zero | tail -c 1999M | wc -c",
}

SETTINGS = {
    "settle_seconds": 0.2,
    "rescan_seconds": 2.0,
    "min_free_bytes": 0,
    "retries": {"attempts": 1, "waits": [0.1]},
    "limits": {"grace_seconds": 1.0},
    "sandbox": {"mode": "none"},  # what is tried is the service, by agents that write where the tests look
}


@dataclass
class Service:
    """haikud as the system's service, or as that of `user`."""

    machine: Machine
    user: str | None = None

    @property
    def home(self) -> str:
        """Where its spool lies."""
        return f"/home/{self.user}/haikud" if self.user else "/var/lib/haikud"

    @property
    def config(self) -> str:
        """Where its settings lie."""
        return f"/home/{self.user}/.config/haikud" if self.user else "/etc/haikud"

    @property
    def spool(self) -> Path:
        """As it is seen from outside."""
        return self.machine.root / self.home.lstrip("/") / "spool"

    def prepare(self) -> None:
        """Settings and roles, to be there before the service."""
        for name, script in ROLES.items():
            self.role(name, script)
        self.settings({})

    def settings(self, more: dict[str, Any]) -> None:
        """Write the settings."""
        text = yaml.safe_dump({**SETTINGS, "roles_dir": f"{self.config}/roles", **more})
        self.machine.write(f"{self.config}/haikud.yaml", text)

    def role(self, name: str, script: str, **front: Any) -> None:
        """A role whose agent is this shell script."""
        path = f"{self.config}/roles/{name}.sh"
        self.machine.write(path, f"#!/bin/bash\n{script.replace('{home}', self.home)}\n", 0o755)
        head = {"name": name, "description": f"Test role {name}.", "command": [path], "workspace": "none", **front}
        self.machine.write(f"{self.config}/roles/{name}.md", f"---\n{yaml.safe_dump(head)}---\nA role of the tests.\n")

    def ctl(self, *argv: str, check: bool = True) -> str:
        """Run systemctl; what it printed."""
        scope = ("--user",) if self.user else ()
        return self.machine.run("systemctl", *scope, *argv, user=self.user, check=check).stdout

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.ctl("show", "-P", name, "haikud").strip()

    def becomes(self, name: str, value: str, *, seconds: float = 30.0) -> None:
        """Wait for a property."""
        wait_until(lambda: value in self.show(name), seconds=seconds, what=lambda: f"{name}={value}; {self.log()}")

    def log(self) -> str:
        """The journal of the unit, with levels."""
        if self.user:
            return self.machine.run("journalctl", "--no-pager", "_SYSTEMD_USER_UNIT=haikud.service").stdout
        return self.machine.run("journalctl", "--no-pager", "-u", "haikud").stdout

    def drop_in(self, text: str) -> None:
        """Lines for the unit's [Service], and a daemon that was started by them."""
        self.machine.write("/run/systemd/system/haikud.service.d/tests.conf", f"[Service]\n{text}\n")
        self.ctl("daemon-reload")
        self.ctl("restart", "haikud")

    def forget_drop_ins(self) -> None:
        """Back to what is shipped."""
        folder = self.machine.root / "run/systemd/system/haikud.service.d"
        if folder.exists():
            shutil.rmtree(folder)
            self.ctl("stop", "haikud", check=False)
            self.ctl("daemon-reload")

    def ask(self, role: str, **fields: Any) -> str:
        """Drop a small plan file; its id."""
        task_id = f"{role}-{uuid.uuid4().hex[:8]}"
        document = {"task_id": task_id, "title": f"Do {task_id}", "role": role, **fields}
        hidden = self.spool / "incoming" / f".{task_id}.dropping"
        hidden.write_text(json.dumps(document), encoding="utf-8")
        owner = self.spool.stat()
        os.chown(hidden, owner.st_uid, owner.st_gid)
        hidden.rename(self.spool / "incoming" / f"{task_id}.json")
        return task_id

    def ask_gated(self) -> str:
        """An agent that is at work until the gate is opened."""
        (self.machine.root / self.home.lstrip("/") / "gate").unlink(missing_ok=True)
        task_id = self.ask("gated")
        self.reaches(task_id, "here")
        return task_id

    def open_gate(self) -> None:
        """Let agents that wait finish."""
        (self.machine.root / self.home.lstrip("/") / "gate").touch()

    def reaches(self, task_id: str, name: str) -> None:
        """Wait for a file of the agent's, or of its attempt's."""
        attempt = self.spool / f"plans/{task_id}/{task_id}/attempt-1"
        places = [attempt / "out" / name, attempt / name]
        wait_until(
            lambda: any(place.exists() for place in places), what=lambda: f"{name} of {task_id}; {self.log()[-3000:]}"
        )

    def runner(self, task_id: str) -> int:
        """The pid of an attempt's runner, inside."""
        path = self.spool / f"plans/{task_id}/{task_id}/attempt-1/runner.json"
        found: int = json.loads(path.read_text(encoding="utf-8"))["pid"]
        return found

    def status(self) -> dict[str, Any]:
        """What status.json says of the daemon; empty before there is one."""
        path = self.spool / "status.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["daemon"] if path.exists() else {}
        return found

    def answer(self, task_id: str) -> dict[str, Any]:
        """Wait for the response."""
        path = self.spool / f"responses/{task_id}.json"
        wait_until(path.exists, what=lambda: f"the answer to {task_id}; {self.log()[-3000:]}")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def succeeds(self, task_id: str) -> None:
        """Wait for a response that says success, at the first attempt."""
        response = self.answer(task_id)
        assert response["status"] == "success", response
        assert not (self.spool / f"plans/{task_id}/{task_id}/attempt-2").exists()
