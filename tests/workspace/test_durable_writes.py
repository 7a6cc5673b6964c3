"""How often an attempt's git waits for the disk: each wait costs a millisecond or many, so they are counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import Bench, commit_file, status

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace import private_git
from haikud.workspace.ownership import expect_owner, record_path
from haikud.workspace.private_git import attach_private_git, harvest
from haikud.workspace.worktrees import finish_worktree, prepare_worktree


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is fsynced."""
    names: list[str] = []
    fsync = os.fsync

    def listed(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", listed)
    return names


def test_only_the_records_and_what_a_record_rests_on_are_waited_for(bench: Bench, synced: list[str]):
    order = bench.order()
    record = ".owners.plan-1.task-1.json.haikud-new"
    prepare_worktree(order)
    assert synced == [record, "owners"] * 2  # taken before the branch is made; ready after all of it was flushed
    del synced[:]
    attach_private_git(order, index_is_right=True)
    assert synced == [record, "owners"]
    del synced[:]
    harvest(order)
    assert synced == [".plan-1.task-1.git.haikud-new", "plan-1.task-1", record, "owners"]


def test_a_worktree_that_its_agent_gets_at_once_is_waited_for_once(
    bench: Bench, synced: list[str], monkeypatch: pytest.MonkeyPatch
):
    order = bench.order()
    entry = Path(order.git_common_dir) / "worktrees" / "plan-1.task-1"
    record, said = record_path(order), record_path(order).with_name(".owners.plan-1.task-1.json.haikud-new")

    def flush(order: WorkspaceOrder) -> None:
        assert (entry / "index").exists()
        assert bench.head(order.branch) == order.base_sha
        assert b'"ready"' in said.read_bytes()
        assert b'"creating"' in record.read_bytes()  # that nobody reads it before it is durable
        synced.append("all")

    monkeypatch.setattr(private_git, "sync_worktree", flush)
    begun = prepare_worktree(order, leave_open=True).begun
    assert begun is not None
    assert attach_private_git(order, begun=begun) == []
    assert synced == [said.name, "owners", "all", "owners"]
    assert expect_owner(order).stage == "ready"


def test_a_worktree_that_no_agent_got_is_finished_all_the_same(bench: Bench, synced: list[str]):
    order = bench.order()
    begun = prepare_worktree(order, leave_open=True).begun
    assert begun is not None
    (Path(order.worktree) / "app.py").write_text("somebody's\n")
    finish_worktree(order, begun)
    assert synced == [".owners.plan-1.task-1.json.haikud-new", "owners"] * 2
    assert not prepare_worktree(order, leave_open=True).created
    assert status(order.worktree) == [" M app.py"]


def test_refs_that_are_known_to_the_agents_folder_alone_are_waited_for(bench: Bench, synced: list[str]):
    order = bench.attached()
    git(Path(order.worktree), "checkout", "-q", "-b", "aside")
    commit_file(Path(order.worktree), "aside.txt")
    git(Path(order.worktree), "checkout", "-q", order.branch)
    del synced[:]
    assert any("aside" in one for one in harvest(order).warnings)
    assert ".git.packed-refs.haikud-new" in synced
    del synced[:]
    attach_private_git(order)
    harvest(order)
    assert ".git.packed-refs.haikud-new" not in synced  # they say so already


def test_commits_of_an_earlier_attempt_are_waited_for_again(bench: Bench, synced: list[str]):
    order = bench.attached()
    commit_file(Path(order.worktree), "new.txt")
    harvest(order)
    attach_private_git(order)
    del synced[:]
    harvest(order)  # the earlier one may have died before it waited
    assert {"objects", "heads"} <= set(synced)


def test_a_git_file_that_a_power_cut_emptied_is_nobodys_doing(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    order = bench.attached()
    (Path(order.worktree) / ".git").write_bytes(b"")
    monkeypatch.setattr(private_git, "boot_id", lambda: "another boot")
    assert harvest(order).warnings == []
    assert status(order.worktree) == []
