"""An order to the built-in agent over a plain folder, with waits small enough for tests."""

from __future__ import annotations

import dataclasses
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from haikud.agent.events import EventLog
from haikud.agent.haiku.session import HaikuEnd, HaikuOrder, run_haiku
from haikud.contracts.attempt import Assignment, Orders, ResolvedRole, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.plan import Task, TaskContext
from haikud.contracts.settings import ApiSettings, GitSettings, LimitSettings
from haikud.contracts.transcript import TranscriptLine
from haikud.contracts.usage import UsageTotal
from haikud.spool.agent_log import AgentLog
from haikud.spool.models import iter_lines

KEY = "sk-ant-made-up-0123456789"


@dataclass
class Desk:
    """A worktree and what lies around it; attempts are run one after the other, as the engine would."""

    folder: Path
    attempts: int = 0
    pause: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def worktree(self) -> Path:
        return self.folder / "worktree"

    def order(self, base_url: str, **changes: Any) -> HaikuOrder:
        self.attempts += 1
        api = {"tries": 3, "retry_waits": [0.01, 0.02], "stall_seconds": 0.5, **changes.pop("api", {})}
        limits = {"grace_seconds": 0.2, **changes.pop("limits", {})}
        role = {"name": "tester", "prompt": "You are careful.", "tools": ["bash", "edit"], "model": "claude-haiku-5-5"}
        spec = {
            "budget_usd": 0.5,
            "fresh": False,
            "guidance": [],
            **{name: changes.pop(name) for name in ("budget_usd", "fresh", "guidance") if name in changes},
        }
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        order = HaikuOrder(
            spec=Spec(
                ref="t",
                plan_id="t",
                task_id="t",
                attempt=self.attempts,
                agent_id="tester-1",
                ordered_at=utc_now(),
                task=Task(id="t", ref="t", title="Add sub()"),
                role=ResolvedRole.model_validate({**role, **changes.pop("role", {})}),
                workspace=None,
                limits=LimitSettings.model_validate(limits),
                api=ApiSettings.model_validate({**api, "base_url": base_url}),
                git=GitSettings.model_validate({}),
                spent=UsageTotal(),
                **spec,
            ),
            assignment=Assignment(
                task_id="t",
                title="Add sub()",
                files=["calc.py"],
                steps=["Write it"],
                context=TaskContext(test_command="python3 -m unittest"),
            ),
            worktree=self.worktree,
            transcript=self.folder / "transcript.jsonl",
            log=AgentLog(self.folder / "agent.log"),
            events=EventLog(self.folder / "events.jsonl"),
            api_key=KEY,
            environment={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "HAIKUD_OUT": str(out)},
            dependencies_file=None,
            read_orders=lambda: Orders(pause=self.pause),
            stop=self.stop,
        )
        return dataclasses.replace(order, **changes)

    def run(self, base_url: str, **changes: Any) -> HaikuEnd:
        """One attempt; checks what must hold at the end of every one."""
        before = self.tokens_logged()
        order = self.order(base_url, **changes)
        try:
            end = run_haiku(order)
        finally:
            order.log.close()
        assert self.tokens_logged() - before == end.usage.tokens_used
        assert KEY not in self.log()
        assert KEY not in str(end)
        return end

    def log(self) -> str:
        path = self.folder / "agent.log"
        return path.read_text() if path.exists() else ""

    def tokens_logged(self) -> int:
        return sum(int(line.split()[1]) for line in self.log().splitlines() if line.startswith("tokens_used "))

    def retries(self) -> list[str]:
        return [line for line in self.log().splitlines() if line.startswith("retry ")]

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def transcript(self) -> list[TranscriptLine]:
        return list(iter_lines(self.folder / "transcript.jsonl", TranscriptLine, strict=True))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.worktree.mkdir()
    (made.worktree / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    return made
