"""A plan that is finished, made by hand: branches in a real repository, decisions in a real spool, no daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from tests.support.house import SOURCE
from tests.support.made import NOW, make_plan, make_task
from tests.support.repository import TEST_COMMAND, git, make_repository

from haikud.contracts.decision import Decision
from haikud.contracts.envelope import MessageType, Metrics, Response, Status
from haikud.contracts.plan import Plan, RepositoryAtAdmission, Task, TaskContext
from haikud.contracts.settings import SandboxSettings, Settings, default_settings
from haikud.contracts.states import TaskState
from haikud.engine.merging.merge import MergeReport, MergeWish, Voice, merge_plan
from haikud.spool.durable import write_durably
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.store import Store


class FinishedPlan:
    """The plan `p` in a spool, and its repository `project`; tasks are added one by one, then `admit` is called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = make_repository(root / "project")
        open_spool(root / "spool")
        self.layout = SpoolLayout(root / "spool")
        self.tasks: list[Task] = []
        self.states: dict[str, TaskState] = {}
        self.said: list[str] = []
        self.printed = b""

    def task(
        self,
        name: str,
        files: dict[str, str | None],
        *,
        after: tuple[str, ...] = (),
        state: TaskState = TaskState.SUCCEEDED,
        repository: Path | None = None,
        test_command: str | None = TEST_COMMAND,
    ) -> str:
        """A task, and its branch with one commit that writes these files (None: deletes); the branch's name."""
        where = repository or self.repository
        branch, home = f"feature/p.{name}", git(where, "symbolic-ref", "--short", "HEAD")
        base = git(where, "rev-parse", home)
        git(where, "switch", "-q", "-c", branch, *(f"feature/p.{one}" for one in after[:1]))
        for path, text in files.items():
            if text is None:
                git(where, "rm", "-q", path)
            else:
                (where / path).write_text(text, encoding="utf-8")
        git(where, "add", "-A")
        git(where, "commit", "-q", "-m", f"Work on {name}")
        tip = git(where, "rev-parse", "HEAD")
        git(where, "switch", "-q", home)
        self.tasks.append(
            make_task(
                name,
                title=f"Do the {name}",
                dependencies=list(after),
                repository=RepositoryAtAdmission(
                    path=str(where), git_common_dir=str(where / ".git"), main_branch=home, base_sha=base
                ),
                worktree=str(where / "worktrees" / f"p.{name}"),
                context=TaskContext(test_command=test_command),
            )
        )
        self.states[name] = state
        self._tips = {**getattr(self, "_tips", {}), name: tip}
        return branch

    def admit(self, *, order: list[str] | None = None) -> FinishedPlan:
        """The plan, in its spool; `order` is that of its tasks."""
        if order:
            self.tasks.sort(key=lambda task: order.index(task.id))
        store = Store(self.layout)
        plan = make_plan(*self.tasks)
        first = {task.id: self._decision(task, 1, TaskState.QUEUED) for task in plan.tasks}
        with mock.patch.object(os, "fsync"):
            store.admit(plan, b"{}", first)
            for task in plan.tasks:
                self._settle(store, plan, task)
        return self

    def _settle(self, store: Store, plan: Plan, task: Task) -> None:
        state = self.states[task.id]
        if state is TaskState.QUEUED:
            return
        store.decide(self._decision(task, 2, TaskState.RUNNING))
        store.decide(self._decision(task, 3, state))
        answer = Response(
            timestamp=NOW,
            sender="parallel-task-executor",
            receiver=plan.sender,
            message_type=MessageType.TASK_COMPLETION,
            correlation_id="req-1",
            status=Status.SUCCESS,
            payload={"evidence": {"head_sha": self._tips[task.id]}},
            metrics=Metrics(duration_seconds=1, cost_usd=0.01, tokens_used=10),
        )
        write_durably(self.layout.task(task.ref).response, dump(answer))

    @staticmethod
    def _decision(task: Task, number: int, state: TaskState) -> Decision:
        return Decision(number=number, at=NOW, ref=task.ref, state=state, reason="it is so", attempt=1)

    # -- merging ----------------------------------------------------------------------------------------------------

    def merge(self, settings: Settings | None = None, **wish: object) -> MergeReport:
        """What `haikud merge p` does, in this process."""

        def hear(data: bytes) -> None:
            self.printed += data

        host = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": "secret", "MINE": "shared"}
        asked = MergeWish("p", **wish)  # type: ignore[arg-type]
        settings = settings or default_settings()
        if "sandbox" not in settings.model_fields_set:  # quickly
            settings = settings.model_copy(update={"sandbox": SandboxSettings.model_validate({"mode": "none"})})
        return merge_plan(self.layout, asked, settings, host, Voice(self.said.append, hear))

    def command(self, *args: str) -> subprocess.Popen[str]:
        """`haikud merge p ARGS` as a process."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "HOME": str(self.root)}
        return subprocess.Popen(
            [sys.executable, "-m", "haikud.interfaces", "merge", "p", "--spool", str(self.layout.root), *args],
            env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null", "HAIKUD_SANDBOX__MODE": "none"},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    # -- what is to be seen -----------------------------------------------------------------------------------------

    def head(self, branch: str = "main", repository: Path | None = None) -> str:
        """A branch's commit."""
        return git(repository or self.repository, "rev-parse", branch)

    def subjects(self, branch: str = "main") -> list[str]:
        """The first-parent history, oldest first."""
        return git(self.repository, "log", "--first-parent", "--reverse", "--format=%s", branch).splitlines()

    def places(self, repository: Path | None = None) -> list[Path]:
        """What merges have left: folders and records."""
        where = repository or self.repository
        records = (where / ".git" / "haikud" / "owners").glob("merge*")
        return [*(where / "worktrees").glob(".merge-*"), *records]

    def ledger(self) -> list[dict[str, object]]:
        """The plan's ledger."""
        path = self.layout.plan("p").ledger
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
