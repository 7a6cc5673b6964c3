"""Files that are not in git and that a worktree needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file, status

from haikud.workspace.copies import copy_files
from haikud.workspace.git import WorkspaceError
from haikud.workspace.private_git import attach_private_git


@pytest.fixture
def order(bench):
    return bench.prepared()


def test_untracked_files_are_copied_with_their_mode(bench, order):
    (bench.repo / "config" / "deep").mkdir(parents=True)
    (bench.repo / ".env").write_text("KEY=1\n")
    (bench.repo / ".env").chmod(0o600)
    (bench.repo / "config" / "deep" / "local.yml").write_text("x\n")
    names = [".env", "config/deep/local.yml", "missing"]
    assert copy_files(order.repository, order.worktree, names) == names[:2]
    copied = Path(order.worktree) / ".env"
    assert copied.read_text() == "KEY=1\n"
    assert copied.stat().st_mode & 0o777 == 0o600
    assert (Path(order.worktree) / "config/deep/local.yml").exists()
    assert status(order.worktree) == ["?? .env", "?? config/deep/local.yml"]
    attach_private_git(order, names)
    assert status(order.worktree) == []


def test_what_is_there_is_never_overwritten_but_named_again(bench, order):
    (bench.repo / ".env").write_text("new\n")
    (Path(order.worktree) / ".env").write_text("the agent's\n")
    assert copy_files(order.repository, order.worktree, [".env"]) == [".env"]
    assert (Path(order.worktree) / ".env").read_text() == "the agent's\n"


def test_tracked_files_are_left_to_git(bench, order):
    (bench.repo / "app.py").write_text("not committed\n")
    assert copy_files(order.repository, order.worktree, ["app.py"]) == []
    assert status(order.worktree) == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", ".git/config", "x/.git/config"])
def test_names_that_lead_elsewhere_are_refused(order, name):
    with pytest.raises(WorkspaceError, match="is not the path of a file"):
        copy_files(order.repository, order.worktree, [name])


def test_links_out_of_the_checkout_are_not_followed(bench, order, tmp_path):
    (tmp_path / "secret").write_text("x")
    (bench.repo / "link").symlink_to(tmp_path / "secret")
    (bench.repo / "folder").symlink_to(tmp_path)
    for name in ("link", "folder/secret"):
        with pytest.raises(WorkspaceError, match="leads out of the checkout"):
            copy_files(order.repository, order.worktree, [name])
    (bench.repo / ".env.real").write_text("inside\n")
    (bench.repo / ".env").symlink_to(".env.real")
    assert copy_files(order.repository, order.worktree, [".env"]) == [".env"]
    assert not (Path(order.worktree) / ".env").is_symlink()


def test_links_out_of_the_worktree_are_not_written_through(bench, tmp_path):
    (tmp_path / "victim").mkdir()
    (bench.repo / "folder").symlink_to(tmp_path / "victim")
    git(bench.repo, "add", "folder")
    git(bench.repo, "commit", "-q", "-m", "A link")
    order = bench.prepared("other")
    (bench.repo / "folder").unlink()
    (bench.repo / "folder").mkdir()
    (bench.repo / "folder" / "x").write_text("x")
    with pytest.raises(WorkspaceError, match="is not a folder"):
        copy_files(order.repository, order.worktree, ["folder/x"])
    assert list((tmp_path / "victim").iterdir()) == []


def test_special_files_and_folders_are_refused(bench, order):
    os.mkfifo(bench.repo / "pipe")
    for name in ("pipe", "src"):
        with pytest.raises(WorkspaceError):
            copy_files(order.repository, order.worktree, [name])


def test_nothing_asked_costs_nothing(order):
    assert copy_files("/nowhere", order.worktree, []) == []


def test_a_tracked_file_in_the_worktree_that_the_checkout_lacks_is_fine(bench, order):
    commit_file(Path(order.worktree), ".env")
    (bench.repo / ".env").write_text("x")
    assert copy_files(order.repository, order.worktree, [".env"]) == []
