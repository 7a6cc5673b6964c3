"""A spool laid out by the daemon's own functions, without a daemon: what a command line finds."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from haikud.contracts.base import utc_now
from haikud.contracts.decision import Decision
from haikud.contracts.ids import split_ref, task_ref
from haikud.contracts.plan import Plan, RequestShape, Task
from haikud.contracts.states import TaskState
from haikud.interfaces.cli import haikud_command
from haikud.spool.daemon_lock import hold_daemon_lock
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Store

SOURCE = Path(__file__).resolve().parents[2] / "daemon"

ROADS = {
    "waiting": ["waiting"],
    "queued": ["queued"],
    "running": ["queued", "running"],
    "deferred": ["queued", "deferred"],
    "paused": ["queued", "paused"],
    "escalated": ["queued", "running", "escalated"],
    "succeeded": ["queued", "running", "succeeded"],
    "failed": ["queued", "running", "failed"],
    "cancelled": ["queued", "cancelled"],
}
"""How a task gets to each state."""


class FakeSpool:
    """A spool and what a daemon would have put there."""

    def __init__(self, root: Path) -> None:
        open_spool(root)
        self.root = root
        self.layout = SpoolLayout(root)
        self.store = Store(self.layout)

    def admit(self, plan_id: str, *states: str, content: bytes = b"{}") -> list[str]:
        """A plan whose tasks (t1, t2, ...; or one with the plan's own id) are in these states; their refs."""
        names = [plan_id] if len(states) < 2 else [f"t{n}" for n in range(1, len(states) + 1)]
        refs = [task_ref(plan_id, name, only_task=len(names) == 1) for name in names]
        plan = Plan(
            id=plan_id,
            shape=RequestShape.PLAN_FILE if len(names) == 1 else RequestShape.TASK_PLAN,
            correlation_id=plan_id,
            admitted_at=utc_now(),
            token="0" * 16,
            content_sha256=hashlib.sha256(content).hexdigest(),
            request_file="request.json",
            dropped_as=f"{plan_id}.json",
            tasks=[
                Task(id=name, ref=ref, title=f"Do {name}", workspace="none")
                for name, ref in zip(names, refs, strict=True)
            ],
        )
        roads = [ROADS[state] for state in states or ("queued",)]
        first = {
            name: Decision(number=1, at=utc_now(), ref=ref, state=TaskState(road[0]), reason="admitted")
            for name, ref, road in zip(names, refs, roads, strict=True)
        }
        self.store.admit(plan, content, first)
        for ref, road in zip(refs, roads, strict=True):
            for state in road[1:]:
                self.move(ref, state)
        return refs

    def move(self, ref: str, state: str) -> None:
        """One decision and its link's move."""
        last = self.store.last_decision(ref)
        assert last is not None
        self.store.decide(
            Decision(number=last.number + 1, at=utc_now(), ref=ref, state=TaskState(state), reason=f"now {state}")
        )

    def response(self, identifier: str, status: str, **payload: Any) -> dict[str, Any]:
        """An answer in responses/."""
        document = {
            "version": "1.0",
            "timestamp": "2026-11-23T10:00:00Z",
            "sender": "parallel-task-executor",
            "receiver": "main-agent",
            "message_type": "task_completion",
            "correlation_id": identifier,
            "status": status,
            "payload": payload,
            "metrics": {"duration_seconds": 41.2, "cost_usd": 0.0021, "tokens_used": 14210},
        }
        self.write(self.layout.responses / f"{identifier}.json", document)
        return document

    def escalate(self, ref: str, number: int = 1) -> dict[str, Any]:
        """An open question."""
        payload = {"escalation_id": f"{ref}.e{number}", "ref": ref, "title": f"Do {ref}", "reason": "Which of the two?"}
        document = {"message_type": "escalation", "status": "blocked", "payload": payload}
        self.write(self.layout.escalations / f"{ref}.json", document)
        return document

    def live(self, *tasks: dict[str, Any], pid: int | None = None, **more: Any) -> None:
        """status.json."""
        daemon = {"pid": pid or os.getpid(), "version": "0.1.0", "state": "running", "max_agents": 8, "sandbox": "none"}
        states = [task["state"] for task in tasks]
        counts = {state: states.count(state) for state in states}
        document = {"format": 1, "updated_at": "2026-11-23T10:00:00Z", "daemon": daemon, "counts": counts, **more}
        self.write(self.layout.status_file, {**document, "tasks": list(tasks)})

    def log(self, ref: str, text: str) -> None:
        """Append to an agent's log."""
        with self.layout.task(ref).log.open("a", encoding="utf-8") as log:
            log.write(text)

    def finish(self, ref: str, status: str, **payload: Any) -> dict[str, Any]:
        """Settle a running task as the daemon does: its answer, then the published one, then the link."""
        document = self.response(ref, status, **payload)
        self.write(self.layout.task(ref).response, document)
        plan_id, _ = split_ref(ref)
        if plan_id == ref:
            self.write(self.layout.plan(plan_id).response, document)
        self.move(ref, {"success": "succeeded", "cancelled": "cancelled"}.get(status, "failed"))
        return document

    @staticmethod
    def write(path: Path, document: dict[str, Any]) -> None:
        hidden = path.with_name(f".{path.name}.new")
        hidden.write_text(json.dumps(document), encoding="utf-8")
        hidden.rename(path)

    def run(self, *args: str, stdin: str | bytes | None = None) -> Result:
        """A command in this process."""
        return CliRunner().invoke(haikud_command, [args[0], "--spool", str(self.root), *args[1:]], input=stdin)

    def start(self, *args: str, more_environment: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """A command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "haikud.interfaces", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=plain_environment(HAIKUD_SPOOL=str(self.root), **(more_environment or {})),
            **more,
        )


def plain_environment(**more: str) -> dict[str, str]:
    """An environment without this machine's settings."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(SOURCE), "HOME": "/nonexistent", **more}


def on_terminal(spool: FakeSpool, *args: str, **environment: str) -> tuple[int, str]:
    """Run a command on a terminal; its exit code and everything that was shown."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "haikud.interfaces", *args],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=plain_environment(**{"HAIKUD_SPOOL": str(spool.root), "TERM": "xterm", **environment}),
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(controller, 65536):
            shown += chunk
    except OSError:  # Linux says EIO when the other end is closed
        pass
    os.close(controller)
    return process.wait(timeout=30), shown.decode().replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("HAIKUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path / "spool")


@pytest.fixture
def daemon(spool: FakeSpool) -> Iterator[int]:
    """This process holds the daemon's lock: to a looker it is the daemon."""
    with hold_daemon_lock(spool.layout):
        yield os.getpid()
