"""A worktree that haikud makes known to git itself is what `git worktree add` would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import git
from tests.workspace.conftest import Bench

from haikud.workspace import worktrees
from haikud.workspace.git import Asked, Git, GitError
from haikud.workspace.ownership import BranchTaken
from haikud.workspace.registration import add_entry, fill, new_entry
from haikud.workspace.repository_settings import read_settings
from haikud.workspace.worktrees import prepare_worktree


def files_of(entry: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in entry.iterdir() if path.is_file() and path.name != "index"}


def test_the_entry_is_gits_own_to_the_byte_and_git_works_with_it(bench: Bench):
    order = bench.prepared()
    ours = files_of(new_entry(order))
    assert git(Path(order.worktree), "status", "--porcelain") == ""
    listed = git(bench.repo, "worktree", "list", "--porcelain").split("\n\n")[1]
    assert listed.splitlines() == [
        f"worktree {order.worktree}",
        f"HEAD {order.base_sha}",
        f"branch refs/heads/{order.branch}",
    ]
    assert git(bench.repo, "worktree", "prune", "--verbose") == ""
    assert git(bench.repo, "reflog", "show", order.branch).endswith(f"branch: Created from {order.base_sha}")
    git(bench.repo, "worktree", "remove", order.worktree)
    git(bench.repo, "worktree", "add", "-q", "--no-checkout", order.worktree, order.branch)
    gits = files_of(new_entry(order))
    gits.pop("ORIG_HEAD", None)
    assert ours == gits


def test_git_is_told_the_real_place_of_a_worktree(bench: Bench, tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    order = bench.prepared(worktree=str(tmp_path / "link" / "plan-1.task-1"))
    ours = (new_entry(order) / "gitdir").read_bytes()
    git(bench.repo, "worktree", "remove", order.worktree)
    git(bench.repo, "worktree", "add", "-q", "--no-checkout", order.worktree, order.branch)
    assert ours == (new_entry(order) / "gitdir").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("core.sparseCheckout", "true"),
        ("extensions.worktreeConfig", "true"),
        ("worktree.useRelativePaths", "true"),
        ("core.sharedRepository", "group"),
    ],
)
def test_worktrees_that_are_more_than_four_files_are_gits_to_make(bench: Bench, name: str, value: str):
    assert read_settings(bench.repo / ".git").has_plain_worktrees
    git(bench.repo, "config", name, value)
    assert not read_settings(bench.repo / ".git").has_plain_worktrees
    order = bench.prepared()
    assert git(Path(order.worktree), "rev-parse", "--abbrev-ref", "HEAD") == order.branch


def test_a_sparse_checkout_stays_one_in_the_worktree(bench: Bench):
    git(bench.repo, "sparse-checkout", "set", "src")
    order = bench.prepared()
    assert (Path(order.worktree) / "src/mod.py").exists()
    assert not (Path(order.worktree) / "tests").exists()


def test_a_name_that_git_has_already_is_left_alone(bench: Bench):
    other = bench.repo.parent / "elsewhere" / "plan-1.task-1"
    git(bench.repo, "worktree", "add", "-q", "-b", "mine", str(other))
    before = files_of(bench.repo / ".git/worktrees/plan-1.task-1")
    order = bench.prepared()
    assert files_of(bench.repo / ".git/worktrees/plan-1.task-1") == before
    assert git(Path(order.worktree), "status", "--porcelain") == ""


def test_a_branch_that_somebody_made_in_between_is_not_taken(bench: Bench):
    order = bench.order()
    git(bench.repo, "branch", order.branch)
    entry = add_entry(order)
    with pytest.raises(GitError, match="already exists"):
        fill(entry, order, order.base_sha, new_branch=True).finish()
    assert [path.name for path in Path(order.worktree).iterdir()] == [".git"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_branch_that_somebody_makes_while_files_are_checked_out_stays_theirs(
    bench: Bench, when: str, monkeypatch: pytest.MonkeyPatch
):
    order = bench.order()
    if when == "before":

        def late(*args: Any, **more: Any) -> Asked:
            git(bench.repo, "branch", order.branch)
            return fill(*args, **more)

        monkeypatch.setattr(worktrees, "fill", late)
    else:
        make = f"env -u GIT_DIR -u GIT_WORK_TREE git -C '{bench.repo}' branch {order.branch} && cat"
        git(bench.repo, "config", "filter.slow.smudge", make)
        (bench.repo / ".git/info").mkdir(exist_ok=True)
        (bench.repo / ".git/info/attributes").write_text("app.py filter=slow\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(BranchTaken):
            prepare_worktree(order, leave_open=True)
    assert git(bench.repo, "worktree", "list").count("\n") == 0
    assert not Path(order.worktree).exists()
    git(bench.repo, "checkout", "-q", order.branch)


def test_settings_are_as_git_reads_them(bench: Bench, home: Path):
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Of the user\n[core]\n\texcludesFile = ~/names\n[a]\n\tb = two\\nlines\n[x]\n\ty = off\n",
        encoding="utf-8",
    )
    git(bench.repo, "config", "user.name", "Of the repository")
    settings = read_settings(bench.repo / ".git")
    assert settings.last("user.name") == "Of the repository"
    assert settings.last("a.b") == "two\nlines"
    assert (settings.is_on("x.y"), settings.is_on("x.z"), settings.last("x.z")) == (False, False, None)
    assert settings.ignore_file(Git(bench.repo / ".git")) == home / "names"
    git(bench.repo, "config", "core.excludesFile", "/plain/names")
    assert read_settings(bench.repo / ".git").ignore_file(Git(bench.repo / ".git")) == Path("/plain/names")


def test_settings_given_are_not_read_again(bench: Bench):
    order = bench.order()
    settings = read_settings(order.git_common_dir)
    assert prepare_worktree(order, lambda: settings).created
