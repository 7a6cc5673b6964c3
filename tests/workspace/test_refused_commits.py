"""Commits that git's own check refuses: said once with the reason, and the task can go on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.repository import git

from haikud.workspace.commits import commit_leftovers
from haikud.workspace.private_git import attach_private_git, harvest
from haikud.workspace.taking_over import CommitsRefused


def unsound_commit(worktree: Path) -> str:
    """A commit whose author has no e-mail address, made as an agent could."""
    (worktree / "new.py").write_text("NEW = 1\n")
    git(worktree, "add", "new.py")
    tree, head = git(worktree, "write-tree"), git(worktree, "rev-parse", "HEAD")
    who = "nobody 1700000000 +0000"
    text = f"tree {tree}\nparent {head}\nauthor {who}\ncommitter {who}\n\nBad\n"
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"],
        cwd=worktree,
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    git(worktree, "update-ref", "HEAD", made)
    return made


def test_they_are_refused_with_the_reason_and_the_next_attempt_goes_on(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    bad = unsound_commit(worktree)
    with pytest.raises(CommitsRefused, match=r"missingSpaceBeforeEmail|missingEmail") as caught:
        harvest(order)
    assert order.private_git in str(caught.value)
    assert caught.value.code == "COMMITS_REFUSED"
    assert git(bench.repo, "status", "--porcelain") == ""
    assert git(worktree, "status", "--porcelain") == "?? new.py"  # the file is there, and the worktree's git in place

    (warning,) = attach_private_git(order)
    assert "git refuses the agent's commits" in warning
    (kept,) = Path(order.private_git).parent.glob("git.refused-*")
    assert git(kept, "cat-file", "-t", bad) == "commit"
    assert harvest(order).warnings == []
    assert commit_leftovers(order, "What was left") == git(bench.repo, "rev-parse", order.branch)
    assert git(bench.repo, "show", f"{order.branch}:new.py") == "NEW = 1"
    assert "missing" not in git(bench.repo, "fsck", "--no-dangling")
