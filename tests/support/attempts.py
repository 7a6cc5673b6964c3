"""A hand-made attempt folder, and the runner started on it as the daemon would."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import members
from tests.support.repository import git, make_repository
from tests.support.waiting import wait_until

from haikud.contracts.attempt import Assignment, EndOrder, Orders, ResolvedRole, Result, Spec, WorkspaceOrder
from haikud.contracts.base import utc_now
from haikud.contracts.format import SpoolFormat
from haikud.contracts.plan import FileSpec, RepositoryAtAdmission, Task, TaskContext
from haikud.contracts.settings import ApiSettings, GitSettings, LimitSettings
from haikud.contracts.usage import UsageTotal
from haikud.sandbox.trees import end_tree
from haikud.spool.durable import write_quickly
from haikud.spool.layout import AttemptPaths, SpoolLayout
from haikud.spool.models import dump

SOURCE = Path(__file__).resolve().parents[2] / "daemon"
KEY = "sk-ant-made-up-key"
DYING_RUNNER = Path(__file__).resolve().parents[1] / "agent" / "dying_runner.py"
LIMITED = """
import json, os, resource, sys
for name, most in json.loads(sys.argv[1]).items():
    resource.setrlimit(getattr(resource, name), (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass
class Bench:
    """A repository, a spool with one task, and its attempts. Fields may be changed before `order`."""

    root: Path
    ref: str = "task-1"
    repository: Path = field(init=False)
    spool: SpoolLayout = field(init=False)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    attempt: int = 0

    def __post_init__(self) -> None:
        self.repository = make_repository(self.root / "project")
        self.spool = SpoolLayout(self.root / "spool")
        for folder in (self.spool.logs, self.spool.task(self.ref).folder):
            folder.mkdir(parents=True)
        self.spool_id = str(uuid.uuid4())
        write_quickly(self.spool.format_file, dump(SpoolFormat(spool_id=self.spool_id)))
        self.spool.log_link(self.ref).symlink_to(self.spool.log_target(self.ref))

    @property
    def paths(self) -> AttemptPaths:
        """The newest attempt's folder."""
        return self.spool.task(self.ref).attempt(self.attempt)

    @property
    def branch(self) -> str:
        """The task's branch."""
        return f"feature/{self.ref}"

    @property
    def worktree(self) -> Path:
        """The task's worktree."""
        return self.repository / "worktrees" / self.ref

    def workspace(self, merge_refs: Iterable[str] = ()) -> WorkspaceOrder:
        """The order for the task's worktree."""
        return WorkspaceOrder(
            repository=str(self.repository),
            git_common_dir=str(self.repository / ".git"),
            branch=self.branch,
            worktree=str(self.worktree),
            main_branch="main",
            base_sha=git(self.repository, "rev-parse", "main"),
            private_git=str(self.spool.task(self.ref).private_git),
            spool_id=self.spool_id,
            merge_refs=list(merge_refs),
        )

    def order(
        self,
        agent: str | None = None,
        *,
        files: Iterable[FileSpec | str] = (),
        context: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        git_settings: dict[str, Any] | None = None,
        role: dict[str, Any] | None = None,
        operation: str | None = None,
        params: dict[str, Any] | None = None,
        merge_refs: Iterable[str] = (),
        with_worktree: bool = True,
        **spec: Any,
    ) -> AttemptPaths:
        """Write the next attempt's order. `agent` is the shell script of a command agent."""
        self.attempt += 1
        declared = [FileSpec(path=file) if isinstance(file, str) else file for file in files]
        workspace = self.workspace(merge_refs) if with_worktree else None
        base = git(self.repository, "rev-parse", "main")
        task = Task(
            id=self.ref,
            ref=self.ref,
            title="Add sub",
            operation=operation,
            params=params or {},
            files=declared,
            context=TaskContext(**(context or {})),
            issue_number=spec.pop("issue_number", None),
            workspace="worktree" if with_worktree else "none",
            repository=RepositoryAtAdmission(
                path=str(self.repository),
                git_common_dir=str(self.repository / ".git"),
                main_branch="main",
                base_sha=base,
            ),
        )
        command = None if agent is None else ["bash", "-c", agent]
        whole = Spec(
            ref=self.ref,
            plan_id=self.ref,
            task_id=self.ref,
            attempt=self.attempt,
            agent_id="worker-1",
            ordered_at=utc_now(),
            task=task,
            role=ResolvedRole(**{"name": "worker", "model": "claude-haiku-5-5", "command": command, **(role or {})}),
            workspace=workspace,
            limits=LimitSettings.model_validate({"grace_seconds": 1.0, **(limits or {})}),
            api=ApiSettings.model_validate(spec.pop("api", {})),
            git=GitSettings.model_validate(git_settings or {}),
            budget_usd=0.5,
            spent=UsageTotal(),
            **spec,
        )
        assignment = Assignment(
            task_id=task.id,
            title=task.title,
            files=[file.path for file in declared],
            file_details=declared,
            operation=operation,
            params=task.params,
            context=task.context,
        )
        self.paths.folder.mkdir()
        write_quickly(self.paths.spec, dump(whole))
        write_quickly(self.paths.assignment, dump(assignment))
        return self.paths

    def start(
        self,
        *more: str,
        key: str | None = KEY,
        claim: bool = True,
        limits: dict[str, int] | None = None,
        dying: str = "",
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Start the runner on the newest attempt, as the daemon would.

        `limits`: the machine's (RLIMIT_FSIZE: bytes, ...) for it and all that it starts. `dying`: where it kills itself,
        see tests/agent/dying_runner.py.
        """
        paths, log = self.paths, self.spool.task(self.ref).log
        argv = [sys.executable, "-m", "haikud.agent", "--attempt", str(paths.folder)]
        if dying:
            argv[1:3] = [str(DYING_RUNNER), dying]
        if limits:
            argv = [sys.executable, "-c", LIMITED, json.dumps(limits), *argv]
        passed: list[int] = []
        if claim:
            descriptor = os.open(paths.claim, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            passed.append(descriptor)
            argv += ["--claim-fd", str(descriptor)]
        if key is not None:
            read, write = os.pipe()
            os.write(write, json.dumps({"api_key": key}).encode() + b"\n")
            os.close(write)
            passed.append(read)
            argv += ["--key-fd", str(read)]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [*argv, *more, self.ref],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd="/",
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.root),
                    "LANG": "C.UTF-8",
                    "PYTHONPATH": str(SOURCE),
                    "GIT_CONFIG_GLOBAL": "/dev/null",
                    "HAIKUD_OUT": str(paths.out),
                    **environment,
                },
                pass_fds=passed,
                start_new_session=True,
            )
        for descriptor in passed:
            os.close(descriptor)
        self.started.append(process)
        return process

    def run(self, *, code: int = 0, **options: Any) -> Result:
        """Start the runner, wait for its end, read its result."""
        process = self.start(**options)
        assert process.wait(timeout=60) == code, self.log()
        return self.result()

    def result(self) -> Result:
        """The newest attempt's result."""
        return Result.model_validate_json(self.paths.result.read_bytes())

    def end(self, process: subprocess.Popen[bytes], end: EndOrder | None) -> Result:
        """Order the attempt's end as the daemon would: orders.json, then TERM."""
        if end is not None:
            write_quickly(self.paths.orders, dump(Orders(end=end)))
        process.terminate()
        assert process.wait(timeout=30) == 0, self.log()
        return self.result()

    def wait_for(self, name: str) -> Path:
        """Wait for a file that the agent makes in its out/."""
        path = self.paths.out / name
        wait_until(path.exists, what=lambda: f"{path}; the log says: {self.log()}")
        return path

    def log(self) -> str:
        """The agent's log."""
        path = self.spool.task(self.ref).log
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def left_running(self) -> list[str]:
        """What of the newest attempt is alive."""
        return [" ".join(process.cmdline()) for process in members(str(self.paths.out))]

    def close(self) -> None:
        """End everything."""
        for process in self.started:
            process.kill()
            process.wait()
        for number in range(1, self.attempt + 1):
            end_tree(marker=str(self.spool.task(self.ref).attempt(number).out), pids=[], grace=0)
