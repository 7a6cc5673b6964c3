"""A writer of an ownership record that is killed leaves nothing beside it for long."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.workspace.conftest import Bench

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.ownership import owners_folder, read_owner, update_owner
from haikud.workspace.private_git import attach_private_git, harvest
from haikud.workspace.worktrees import prepare_worktree


def dies_in(call: object, order: WorkspaceOrder, module: object, name: str) -> None:
    """Make the call in a child that is killed when it comes to that function."""
    pid = os.fork()
    if pid == 0:
        setattr(module, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        try:
            call(order)  # type: ignore[operator]
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def order(bench: Bench) -> WorkspaceOrder:
    return bench.order()


def hidden(order: WorkspaceOrder) -> list[Path]:
    return list(owners_folder(order.git_common_dir).glob(".*"))


def test_of_taking_ownership(order: WorkspaceOrder):
    dies_in(prepare_worktree, order, os, "link")
    assert len(hidden(order)) == 1
    prepare_worktree(order)
    assert not hidden(order)


def test_of_a_change_that_nobody_wants_any_more(order: WorkspaceOrder):
    prepare_worktree(order)
    owner = read_owner(order)
    assert owner is not None
    dies_in(lambda it: update_owner(it, owner, attached_tip="0" * 40), order, Path, "rename")
    assert len(hidden(order)) == 1
    harvest(order)
    assert not hidden(order)
    attach_private_git(order)
