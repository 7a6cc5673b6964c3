"""Killed between any two steps: the same call again brings everything to its proper end, and no work is lost.

A child process makes the call and is killed with SIGKILL at its Nth step that leaves a trace (a file made, renamed or
removed, a process started), for each N until it gets through.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.repository import git
from tests.support.waiting import wait_until
from tests.workspace.conftest import Bench, commit_file, status

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.commits import commit_leftovers, merge_dependencies
from haikud.workspace.evidence import measure
from haikud.workspace.private_git import attach_private_git, detach_private_git, harvest
from haikud.workspace.worktrees import prepare_worktree

TRACES = {"subprocess.Popen", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}


def killed_at(step: int, call: Callable[[], object]) -> bool:
    """Make the call in a child that is killed at its `step`th trace; False where it got through before."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def watch(event: str, _args: object) -> None:
            nonlocal seen
            if event in TRACES:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    _, state = os.waitpid(pid, 0)
    if os.WIFSIGNALED(state):
        return True
    assert os.waitstatus_to_exitcode(state) == 0
    return False


@pytest.fixture
def each_step(bench, tmp_path) -> Callable[..., Iterator[Bench]]:
    """Runs `arrange`, then the call up to each step in turn, and gives the wreck, always at the same paths."""

    def sweep(arrange: Callable[[], None], call: Callable[[], object], every: int = 1) -> Iterator[int]:
        arrange()
        here = [bench.repo, bench.spool]
        bench.spool.mkdir(exist_ok=True)
        for folder in here:
            shutil.copytree(folder, tmp_path / "before" / folder.name, symlinks=True)
        step = 1
        while killed_at(step, call):
            yield step
            for folder in here:
                shutil.rmtree(folder)
                shutil.copytree(tmp_path / "before" / folder.name, folder, symlinks=True)
            step += every
        assert step > 3

    return sweep


def test_preparing(bench, each_step):
    order = bench.order()
    for _ in each_step(lambda: None, lambda: prepare_worktree(order), every=2):
        prepared = prepare_worktree(order)
        assert prepared.start_sha == prepared.branch_tip == order.base_sha == bench.head(order.branch)
        assert status(order.worktree) == status(bench.repo) == []
        assert not prepare_worktree(order).created
        assert [p.name for p in (bench.repo / "worktrees").iterdir()] == ["plan-1.task-1"]


def test_making_a_deleted_folder_again(bench, each_step):
    order = bench.order()

    def arrange():
        prepare_worktree(order)
        commit_file(Path(order.worktree), "one.py")
        shutil.rmtree(order.worktree)

    for _ in each_step(arrange, lambda: prepare_worktree(order)):
        assert prepare_worktree(order).branch_tip == bench.head(order.branch)
        assert (Path(order.worktree) / "one.py").exists()
        assert status(order.worktree) == []


def test_attaching(bench, each_step):
    order = bench.order()
    for _ in each_step(bench.prepared, lambda: attach_private_git(order), every=14):
        prepare_worktree(order)
        assert attach_private_git(order) == []
        head = commit_file(Path(order.worktree), "one.py")
        assert harvest(order).head_sha == head


def is_asked(order: WorkspaceOrder) -> bool:
    """Whether git is still at work in the order's repository."""
    said = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return any(part.startswith(f"--git-dir={order.git_common_dir}") for argv in said for part in argv)


def test_preparing_and_attaching_in_one(bench, each_step):
    order = bench.order()

    def in_one() -> list[str]:
        return attach_private_git(order, begun=prepare_worktree(order, leave_open=True).begun)

    for _ in each_step(lambda: None, in_one, every=7):
        wait_until(lambda: not is_asked(order), what="git that outlives who asked it")  # as recovery makes sure of
        assert in_one() == []
        assert [p.name for p in (bench.repo / "worktrees").iterdir()] == ["plan-1.task-1"]
        head = commit_file(Path(order.worktree), "one.py")
        assert harvest(order).head_sha == head
        assert status(order.worktree) == status(bench.repo) == []


def agent_works(bench: Bench) -> None:
    order = bench.attached()
    commit_file(Path(order.worktree), "one.py")
    (Path(order.worktree) / "app.py").write_text("half done\n")
    (Path(order.worktree) / "new.py").write_text("new\n")


def test_harvesting(bench, each_step):
    order = bench.order()
    for _ in each_step(lambda: agent_works(bench), lambda: harvest(order), every=9):
        taken = harvest(order)
        assert taken.warnings == []
        assert git(bench.repo, "log", "-1", "--format=%s", taken.head_sha) == "Work"
        assert bench.head(order.branch) == taken.head_sha
        assert status(order.worktree) == [" M app.py", "?? new.py"]


def test_the_next_attempt_after_a_harvest_that_was_cut_short(bench, each_step):
    order = bench.order()
    for _ in each_step(lambda: agent_works(bench), lambda: harvest(order), every=23):
        prepare_worktree(order)
        attach_private_git(order)
        assert git(Path(order.worktree), "log", "-1", "--format=%s") == "Work"
        assert status(order.worktree) == [" M app.py", "?? new.py"]


def test_detaching(bench, each_step):
    order = bench.order()
    for _ in each_step(lambda: agent_works(bench), lambda: detach_private_git(order), every=7):
        detach_private_git(order)
        assert status(order.worktree) == [" M app.py", "?? new.py", "?? one.py"]
        harvest(order)
        assert status(order.worktree) == [" M app.py", "?? new.py"]


def test_committing_what_was_left(bench, each_step):
    order = bench.order()

    def arrange():
        agent_works(bench)
        harvest(order)

    for _ in each_step(arrange, lambda: commit_leftovers(order, "Left over"), every=5):
        harvest(order)
        commit_leftovers(order, "Left over")
        assert status(order.worktree) == []
        assert measure(order, order.base_sha, [])["commits"] == 2


def test_merging_dependencies(bench, each_step):
    for ref in ("a", "b"):
        order = bench.prepared(ref)
        commit_file(Path(order.worktree), f"{ref}.py")
    order = bench.order("c", merge_refs=["feature/a", "feature/b"])
    for _ in each_step(lambda: prepare_worktree(order), lambda: merge_dependencies(order), every=5):
        start = merge_dependencies(order)
        assert prepare_worktree(order).start_sha == start == bench.head(order.branch)
        assert {"a.py", "b.py"} <= {p.name for p in Path(order.worktree).iterdir()}
        assert status(order.worktree) == []
