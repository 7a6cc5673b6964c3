"""What a runner that died leaves behind comes home, also while somebody kills the gits that bring it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.repository import make_repository
from tests.workspace.conftest import Bench, commit_file, status

from haikud.contracts.plan import Task
from haikud.engine.attempts.salvage import left_attached, salvage
from haikud.workspace.commits import merge_dependencies
from haikud.workspace.private_git import attach_private_git

TASK = Task.model_validate({"id": "task-1", "ref": "plan-1.task-1", "title": "Something"})

DYING_GIT = """#!/bin/sh
echo x >> "{count}"
[ "$(wc -l < "{count}")" = {at} ] && kill -9 $$
exec "{git}" "$@"
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(make_repository(tmp_path / "repo").resolve(), tmp_path / "spool")


@pytest.mark.parametrize("at", [1, 4, 7, 9])
def test_a_git_that_is_killed_on_the_way_is_asked_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(DYING_GIT.format(count=tmp_path / "count", at=at, git=shutil.which("git")), encoding="utf-8")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    assert left_attached(order)
    evidence = salvage(order, TASK)
    assert len((tmp_path / "count").read_text().splitlines()) > at  # it was killed, and that was not the end
    monkeypatch.undo()
    assert evidence is not None
    assert evidence.head_sha == bench.head(order.branch) == head
    assert not left_attached(order)
    assert status(order.worktree) == []


def test_what_a_task_started_from_is_not_counted_as_its_own(bench: Bench):
    earlier = bench.prepared(ref="plan-1.earlier")
    commit_file(Path(earlier.worktree), "earlier.py")
    order = bench.prepared(merge_refs=[earlier.branch])
    start = merge_dependencies(order)
    attach_private_git(order)
    commit_file(Path(order.worktree), "one.py")
    evidence = salvage(order, TASK)
    assert evidence is not None
    assert (evidence.base_sha, evidence.commits, evidence.files_changed) == (start, 1, ["one.py"])
