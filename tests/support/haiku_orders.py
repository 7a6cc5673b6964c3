"""Orders for the built-in agent alone, without a runner and a daemon around it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from tests.support.repository import CLEAN_GIT, git

from haikud.agent.events import EventLog
from haikud.agent.haiku.session import HaikuOrder
from haikud.contracts.attempt import Assignment, Orders, Spec
from haikud.spool.agent_log import AgentLog

MODEL = "claude-haiku-5-5"


def make_spec(repository: Path, base_url: str, **api: Any) -> Spec:
    """An order for a task in the checkout itself, with short waits."""
    workspace = {
        "repository": str(repository),
        "git_common_dir": str(repository / ".git"),
        "branch": "main",
        "worktree": str(repository),
        "main_branch": "main",
        "base_sha": git(repository, "rev-parse", "HEAD"),
        "private_git": str(repository / ".git"),
        "spool_id": "test",
    }
    return Spec.model_validate(
        {
            "ref": "alone",
            "plan_id": "alone",
            "task_id": "alone",
            "attempt": 1,
            "agent_id": "parallel-task-executor-1",
            "ordered_at": "2026-01-02T03:04:05Z",
            "task": {"id": "alone", "ref": "alone", "title": "A task"},
            "role": {"name": "parallel-task-executor", "tools": ["bash", "edit"], "model": MODEL},
            "workspace": workspace,
            "limits": {"grace_seconds": 0.5, "max_turns": 10},
            "api": {"base_url": base_url, "stall_seconds": 1.0, "retry_waits": [0.1, 0.3], **api},
            "git": {},
            "budget_usd": 0.5,
            "spent": {},
        }
    )


def make_order(folder: Path, repository: Path, base_url: str, title: str, **api: Any) -> HaikuOrder:
    """An order whose log, events and transcript go to `folder`; `api` changes its settings of the API."""
    return HaikuOrder(
        spec=make_spec(repository, base_url, **api),
        assignment=Assignment.model_validate({"task_id": "alone", "title": title, "context": {}}),
        worktree=repository,
        transcript=folder / "transcript.jsonl",
        log=AgentLog(folder / "agent.log"),
        events=EventLog(folder / "events.jsonl"),
        api_key="sk-ant-made-up",
        environment={"PATH": os.environ["PATH"], "HOME": str(folder), **CLEAN_GIT},
        dependencies_file=None,
        read_orders=lambda: Orders.model_validate({}),
        stop=threading.Event(),
    )
