"""A repository, orders for tasks in it, and git by hand as the agent and as a person use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.repository import git, make_repository

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.private_git import attach_private_git
from haikud.workspace.repository import inspect_repository
from haikud.workspace.worktrees import branch_name, prepare_worktree, worktree_path

SPOOL_ID = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of our own, so that nobody's settings decide; and no identity but what is given."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """Made once and copied for each test: a commit with code, a test, an ignored name and a folder."""
    return make_repository(
        tmp_path_factory.mktemp("template") / "repo",
        {
            "app.py": "print('hello')\n",
            "src/mod.py": "ONE = 1\n",
            "tests/test_app.py": "def test_app():\n    assert True\n",
            "pytest.ini": "[pytest]\n",
            ".gitignore": "*.log\n",
        },
    )


@dataclass
class Bench:
    """One repository with its spool beside it."""

    repo: Path
    spool: Path

    def order(self, ref: str = "plan-1.task-1", **changes: object) -> WorkspaceOrder:
        facts = inspect_repository(self.repo)
        plan, _, task = ref.partition(".")
        fields = {
            "repository": facts.top,
            "git_common_dir": facts.git_common_dir,
            "branch": branch_name(ref),
            "worktree": str(worktree_path(facts.top, ref)),
            "main_branch": facts.main_branch,
            "base_sha": facts.base_sha,
            "private_git": str(self.spool / "plans" / plan / (task or plan) / "git"),
            "spool_id": SPOOL_ID,
        }
        return WorkspaceOrder.model_validate(fields | changes)

    def prepared(self, ref: str = "plan-1.task-1", **changes: object) -> WorkspaceOrder:
        order = self.order(ref, **changes)
        prepare_worktree(order)
        return order

    def attached(self, ref: str = "plan-1.task-1", **changes: object) -> WorkspaceOrder:
        order = self.prepared(ref, **changes)
        assert attach_private_git(order) == []
        return order

    def head(self, branch: str = "main") -> str:
        return git(self.repo, "rev-parse", f"refs/heads/{branch}")


@pytest.fixture
def bench(tmp_path, template) -> Bench:
    repo = tmp_path / "the repo ö"
    shutil.copytree(template, repo, symlinks=True)
    return Bench(repo.resolve(), tmp_path / "spool")


def commit_file(folder: Path, name: str, text: str = "text\n", message: str = "Work") -> str:
    """Write a file and commit it with plain git in the worktree, as an agent does; the new head."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    git(folder, "add", "--", name)
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def status(folder: Path | str) -> list[str]:
    """What `git status` by hand shows, one line a path."""
    return git(Path(folder), "status", "--porcelain", "-uall").splitlines()


def run(*argv: str, cwd: Path, **env: str) -> str:
    """Any command, its output."""
    done = subprocess.run(argv, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout
