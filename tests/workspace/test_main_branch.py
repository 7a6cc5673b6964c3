"""What may not come into the main checkout with a merge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.repository import git

from haikud.workspace.main_branch import CannotMove, check_can_move, move_branch


def committed(bench, path: str) -> tuple[str, str]:
    """The head of main, and a commit on top of it with a submodule at that path, which git is told to look into."""
    onto = bench.head()
    settings = f'[submodule "x"]\npath = {path}\nurl = .\nignore = none\n'
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=bench.repo,
        input=settings.encode(),
        capture_output=True,
        check=True,
    )
    index = {**os.environ, "GIT_INDEX_FILE": str(bench.repo / ".git/other-index")}
    entries = [
        "--cacheinfo",
        f"160000,{onto},{path}",
        "--cacheinfo",
        f"100644,{blob.stdout.decode().strip()},.gitmodules",
    ]
    subprocess.run(["git", "read-tree", onto], cwd=bench.repo, env=index, check=True)
    subprocess.run(["git", "update-index", "--add", *entries], cwd=bench.repo, env=index, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=bench.repo, env=index, check=True, capture_output=True, text=True)
    return onto, git(bench.repo, "commit-tree", "-p", onto, "-m", "submodule", tree.stdout.strip())


def test_a_submodule_where_agents_write_is_refused(bench):
    order = bench.attached()
    path = os.path.relpath(Path(order.worktree) / "within", bench.repo)
    onto, result = committed(bench, path)
    with pytest.raises(CannotMove, match="where worktrees of agents lie"):
        check_can_move(order.git_common_dir, "main", onto, result)


def test_a_submodule_elsewhere_comes_with_the_merge(bench):
    order = bench.attached()
    onto, result = committed(bench, "vendor/x")
    assert move_branch(order.git_common_dir, "main", onto, result, "merge") == bench.repo
    assert bench.head() == result
