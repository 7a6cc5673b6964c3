"""What a power cut may leave of a repository, and what is made of it. The cut itself: tests/crash/power_cut.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import Bench, commit_file, status

from haikud.workspace import durability, private_git, taking_over
from haikud.workspace.commits import commit_leftovers
from haikud.workspace.git import Git, GitError
from haikud.workspace.private_git import attach_private_git, harvest
from haikud.workspace.worktrees import prepare_worktree


@pytest.fixture
def power_back(monkeypatch: pytest.MonkeyPatch):
    """Call it, and the machine has been down."""

    def come_back() -> None:
        for module in (durability, private_git):
            monkeypatch.setattr(module, "boot_id", lambda: "another boot")

    return come_back


def test_files_that_a_cut_emptied_are_put_back_and_never_committed(bench: Bench, power_back):
    order = bench.attached()
    worktree = Path(order.worktree)
    (worktree / "app.py").write_bytes(b"")
    (worktree / "src" / "mod.py").write_bytes(b"\0" * 5000)
    (worktree / "new.py").write_text("edited = True\n")
    power_back()
    prepare_worktree(order)
    (warning,) = attach_private_git(order)
    assert "app.py, src/mod.py" in warning
    assert status(worktree) == ["?? new.py"]
    harvest(order)
    assert commit_leftovers(order, "Left") is not None
    assert git(bench.repo, "show", f"{order.branch}:app.py") == "print('hello')"
    assert attach_private_git(order) == [], "it is told once"


def test_an_agent_may_empty_a_file_while_the_power_stays(bench: Bench):
    order = bench.attached()
    (Path(order.worktree) / "app.py").write_bytes(b"")
    assert attach_private_git(order) == []
    assert status(Path(order.worktree)) == [" M app.py"]


def test_a_damaged_private_git_is_set_aside_after_a_cut_and_an_error_else(bench: Bench, power_back):
    order = bench.attached()
    worktree, private = Path(order.worktree), Path(order.private_git)
    commit_file(worktree, "new.py")
    tree = git(worktree, "rev-parse", "HEAD^{tree}")
    damaged = private / "objects" / tree[:2] / tree[2:]
    damaged.chmod(0o600)
    os.truncate(damaged, 0)
    with pytest.raises(GitError):
        harvest(order)
    power_back()
    (warning,) = harvest(order).warnings
    assert "git.damaged-1" in warning
    assert bench.head(order.branch) == order.base_sha
    assert status(worktree) == ["?? new.py"], "what it wrote is still there"


def test_a_boot_that_cannot_be_told_is_no_power_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    order = bench.attached()
    made = commit_file(Path(order.worktree), "new.py")

    def refuse(path: str) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    with monkeypatch.context() as patched:
        patched.setattr("haikud.spool.claims._read_proc", refuse)
        patched.setattr(taking_over, "_fetch", lambda *_: Git(bench.repo).run("no-such-command"))
        with pytest.raises(GitError):
            harvest(order)
    assert harvest(order).head_sha == made, "its git folder is where it was"


@pytest.mark.parametrize("left", [b"", b"\0" * 41])
def test_a_branch_and_an_entry_that_were_begun_and_emptied_are_made_anew(bench: Bench, left: bytes):
    order = bench.order()
    prepare_worktree(order)
    record = next((Path(order.git_common_dir) / "haikud" / "owners").iterdir())
    record.write_text(record.read_text().replace('"ready"', '"creating"'))
    (Path(order.git_common_dir) / "refs" / "heads" / order.branch).write_bytes(left)
    for name in ("gitdir", "commondir", "HEAD"):
        (Path(order.git_common_dir) / "worktrees" / Path(order.worktree).name / name).write_bytes(left)
    (Path(order.worktree) / ".git").write_bytes(b"")
    assert prepare_worktree(order).created
    assert status(Path(order.worktree)) == []
    assert git(bench.repo, "fsck", "--no-dangling") == ""


def test_an_index_that_was_emptied_is_made_anew(bench: Bench):
    order = bench.attached()
    (Path(order.git_common_dir) / "worktrees" / Path(order.worktree).name / "index").write_bytes(b"\0" * 100)
    harvest(order)
    assert status(Path(order.worktree)) == []
