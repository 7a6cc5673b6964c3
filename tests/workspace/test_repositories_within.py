"""Repositories within a worktree keep what they are, and lose what would run something."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from haikud.workspace.files import remove_pipes
from haikud.workspace.repositories_within import disarm


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    argv = ["git", *identity, *arguments]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "repository/modules").mkdir(parents=True)
    (tmp_path / "private/modules").mkdir(parents=True)
    (tmp_path / "worktree").mkdir()
    return tmp_path / "worktree"


def put_right(worktree: Path) -> list[str]:
    beside = worktree.parent
    changed = disarm(remove_pipes(worktree)[1], (worktree, beside / "private/modules"), beside / "repository")
    return [str(Path(one).relative_to(worktree)) for one in changed]


def test_an_ordinary_submodule_is_left_as_it_is(worktree: Path):
    module = worktree.parent / "private/modules/vendor"
    git(worktree, "init", "-q", f"--separate-git-dir={module}", "vendor")
    git(worktree / "vendor", "remote", "add", "origin", "https://example.com/vendor.git")
    git(worktree / "vendor", "commit", "-q", "--allow-empty", "-m", "first")
    before = (module / "config").read_bytes()
    assert put_right(worktree) == []
    assert (module / "config").read_bytes() == before


def test_commands_includes_and_hooks_go_and_all_else_stays(worktree: Path):
    git(worktree, "init", "-q", "-b", "main", "a/b")
    inner = worktree / "a/b"
    git(inner, "commit", "-q", "--allow-empty", "-m", "first")
    git(inner, "config", "filter.evil.clean", "touch evil")
    git(inner, "config", "include.path", "../evil")
    git(inner, "remote", "add", "origin", "https://example.com/x.git")
    hook = inner / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch evil\n")
    (inner / ".git/config.worktree").symlink_to("/etc/passwd")
    assert put_right(worktree) == ["a/b"]
    assert "evil" not in git(inner, "config", "--list", "--local")
    assert git(inner, "remote", "get-url", "origin") == "https://example.com/x.git\n"
    assert git(inner, "log", "--format=%s", "main") == "first\n"
    assert not hook.exists()
    assert put_right(worktree) == []


def test_a_pointer_into_the_repository_stays_and_one_that_leads_elsewhere_goes(worktree: Path):
    (worktree / "theirs").mkdir()
    (worktree / "evil").mkdir()
    (worktree / "linked").mkdir()
    (worktree / "theirs/.git").write_text(f"gitdir: {worktree.parent}/repository/modules/theirs\n")
    (worktree / "evil/.git").write_text(f"gitdir: {worktree.parent}/private/modules/../../other\n")
    (worktree / "linked/.git").symlink_to(worktree.parent / "repository")
    (worktree / ".git").write_text("gitdir: /nowhere\n")
    assert sorted(put_right(worktree)) == ["evil", "linked"]
    assert (worktree / "theirs/.git").exists()
    assert not (worktree / "evil/.git").exists()
    assert not (worktree / "linked/.git").is_symlink()
    assert (worktree / ".git").exists()


def test_settings_that_git_does_not_understand_go_as_a_whole(worktree: Path):
    git(worktree, "init", "-q", "inner")
    (worktree / "inner/.git/config").write_text("[filter \n= nonsense")
    assert put_right(worktree) == ["inner"]
    assert (worktree / "inner/.git/config").read_text() == ""
