"""A sparse checkout: what it has no files of is not taken for removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file, status

from haikud.workspace.checks import expect_entry
from haikud.workspace.commits import commit_leftovers
from haikud.workspace.private_git import harvest


@pytest.mark.parametrize("index", ["right", "damaged"])
def test_what_a_sparse_checkout_has_no_files_of_does_not_look_removed(bench, index):
    commit_file(bench.repo, "tests/other.py")
    git(bench.repo, "branch", "other")
    git(bench.repo, "reset", "-q", "--hard", "HEAD~1")
    git(bench.repo, "sparse-checkout", "set", "src")
    order = bench.attached()
    worktree = Path(order.worktree)
    commit_file(worktree, "src/one.py")
    git(worktree, "merge", "-q", "--no-edit", git(bench.repo, "rev-parse", "other"))
    (worktree / "app.py").write_text("print('left')\n", encoding="utf-8")
    (worktree / "tests").mkdir()
    (worktree / "tests/test_app.py").write_text("left\n", encoding="utf-8")
    if index == "damaged":
        (expect_entry(order) / "index").write_bytes(b"damaged")
    head = harvest(order).head_sha
    assert commit_leftovers(order, "Left") is not None
    changed = git(bench.repo, "diff", "--name-only", head, order.branch)
    assert changed.split() == ["app.py", "tests/test_app.py"]
    assert (worktree / "tests/test_app.py").read_text(encoding="utf-8") == "left\n"
    assert not (worktree / "tests/other.py").exists()
    assert status(worktree) == []
