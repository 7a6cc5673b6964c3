"""An agent that writes into its git folder and its worktree what it likes: none of it is obeyed outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file, status

from haikud.workspace.checks import WorkspaceMismatch, find_entry
from haikud.workspace.commits import commit_leftovers, find_leftovers
from haikud.workspace.evidence import measure
from haikud.workspace.files import remove_folder
from haikud.workspace.git import GitError
from haikud.workspace.private_git import attach_private_git, harvest
from haikud.workspace.removal import WorkInDanger, remove_worktree


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


def plant(git_folder: Path, canary: Path) -> None:
    """Everything in a git folder that makes git start a program."""
    hooks = git_folder / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "pre-commit",
        "post-commit",
        "reference-transaction",
        "post-checkout",
        "post-index-change",
        "pre-push",
    ):
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> '{canary}'\n")
        (hooks / name).chmod(0o755)
    touch = f"sh -c 'echo setting >> {canary}; cat'"
    with (git_folder / "config").open("a") as file:
        file.write(
            f'[core]\n\tfsmonitor = "{touch}"\n\thooksPath = "{hooks}"\n\tsshCommand = "{touch}"\n'
            f'\talternateRefsCommand = "{touch}"\n\tpager = "{touch}"\n\teditor = "{touch}"\n'
            f'[filter "evil"]\n\tclean = "{touch}"\n\tsmudge = "{touch}"\n\tprocess = "{touch}"\n'
            f'[diff "evil"]\n\ttextconv = "{touch}"\n\tcommand = "{touch}"\n'
            f'[uploadpack]\n\tpackObjectsHook = "{touch}"\n[gpg]\n\tprogram = "{touch}"\n[commit]\n\tgpgSign = true\n'
            f'[include]\n\tpath = "{git_folder}/more"\n'
        )
    (git_folder / "more").write_text(f'[core]\n\tfsmonitor = "{touch}"\n')
    (git_folder / "info").mkdir(exist_ok=True)
    (git_folder / "info" / "attributes").write_text("* filter=evil diff=evil\n")


def test_the_canary_sings_where_git_does_obey(bench, canary):
    order = bench.attached()
    plant(Path(order.private_git), canary)
    (Path(order.worktree) / "app.py").write_text("changed\n")
    git(Path(order.worktree), "-c", "commit.gpgSign=false", "commit", "-qam", "Work")
    assert {"setting", "pre-commit", "reference-transaction"} <= set(canary.read_text().split())


def test_no_hook_filter_or_setting_of_the_agent_is_run(bench, canary):
    order = bench.attached()
    worktree = Path(order.worktree)
    (worktree / ".gitattributes").write_text("* filter=evil diff=evil\n")
    head = commit_file(worktree, "one.py")
    (worktree / "app.py").write_text("left\n")
    (worktree / "new.py").write_text("left\n")
    plant(Path(order.private_git), canary)
    assert harvest(order).head_sha == head
    assert commit_leftovers(order, "Left over") is not None
    measure(order, order.base_sha, [])
    attach_private_git(order)
    harvest(order)
    assert status(worktree) == []
    assert not canary.exists()


def test_a_git_folder_that_names_another_common_folder_is_not_followed(bench, canary, tmp_path):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    evil = Path(shutil.copytree(order.private_git, tmp_path / "evil"))
    plant(evil, canary)
    private = Path(order.private_git)
    for name in ("commondir", "gitdir"):
        (private / name).write_text(f"{evil}\n")
    (private / "config.worktree").write_text("[core]\n\tfsmonitor = false\n")
    shutil.copytree(evil, private / ".git")
    assert harvest(order).head_sha == head
    assert sorted(p.name for p in private.iterdir()) == ["HEAD", "config", "info", "objects", "packed-refs", "refs"]
    assert not canary.exists()


def replace_by_repository(git_file: Path, worktree: Path, canary: Path) -> None:
    git_file.unlink()
    git(worktree, "init", "-q", "--template=")
    git(worktree, "add", "-A")
    git(worktree, "commit", "-q", "-m", "A life of its own")
    plant(git_file, canary)


def replace_by_link(git_file: Path, worktree: Path, canary: Path) -> None:
    evil = canary.parent / "evil"
    git(canary.parent, "init", "-q", "--template=", "evil")
    plant(evil / ".git", canary)
    git_file.unlink()
    git_file.symlink_to(evil / ".git")


def replace_by_file(git_file: Path, worktree: Path, canary: Path) -> None:
    replace_by_link(git_file, worktree, canary)
    git_file.unlink()
    git_file.write_text(f"gitdir: {canary.parent}/evil/.git\n")


def replace_by_fifo(git_file: Path, worktree: Path, canary: Path) -> None:
    git_file.unlink()
    os.mkfifo(git_file)


@pytest.mark.parametrize("replace", [replace_by_repository, replace_by_link, replace_by_file, replace_by_fifo])
def test_a_replaced_git_is_set_aside_and_not_followed(bench, canary, replace):
    order = bench.attached()
    worktree = Path(order.worktree)
    head = commit_file(worktree, "one.py")
    replace(worktree / ".git", worktree, canary)
    taken = harvest(order)
    assert taken.head_sha == head
    aside = Path(f"{order.private_git}.replaced-1")
    assert taken.warnings == [f"the agent replaced the worktree's .git; what it put there lies in {aside}"]
    assert os.path.lexists(aside)
    assert status(worktree) == []
    assert commit_leftovers(order, "Nothing") is None
    assert not canary.exists()


def test_a_removed_git_is_put_back(bench):
    order = bench.attached()
    (Path(order.worktree) / ".git").unlink()
    assert harvest(order).warnings == ["the agent removed the worktree's .git; it was put back"]
    assert status(order.worktree) == []


def test_borrowed_objects_refs_and_locks_by_link_are_not_followed(bench, tmp_path):
    order = bench.attached()
    private = Path(order.private_git)
    base = bench.head()
    commit_file(Path(order.worktree), "one.py")
    shutil.rmtree(private / "refs")
    (private / "refs").symlink_to(bench.repo / ".git" / "refs")  # writing through it would move main
    shutil.rmtree(private / "objects" / "info")
    (private / "objects" / "info").symlink_to(tmp_path)
    (private / "HEAD").unlink()
    (private / "HEAD").symlink_to(bench.repo / ".git" / "HEAD")
    (private / "info" / "exclude").unlink()
    (private / "info" / "exclude").symlink_to(tmp_path / "target")
    os.mkfifo(private / "objects" / "pack" / "pack-x.idx")
    taken = harvest(order)
    assert taken.head_sha == base  # its branch went with its refs
    git(bench.repo, "commit", "-q", "--allow-empty", "-m", "Main goes on")
    moved = bench.head()
    attach_private_git(order)
    harvest(order)
    assert bench.head() == moved
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "alternates").exists()
    assert (bench.repo / ".git" / "refs" / "heads" / "main").exists()


@pytest.mark.parametrize("how", ["gone", "link", "file", "objects-gone", "objects-link"])
def test_a_git_folder_that_is_none_any_more_costs_only_the_agents_commits(bench, tmp_path, how):
    order = bench.attached()
    worktree, private = Path(order.worktree), Path(order.private_git)
    commit_file(worktree, "one.py")
    target = private / "objects" if how.startswith("objects") else private
    target.rename(tmp_path / "elsewhere")
    if how.endswith("link"):
        target.symlink_to(tmp_path / "elsewhere")
    elif how == "file":
        target.write_text("?")
    taken = harvest(order)
    assert taken.head_sha == order.base_sha
    assert "stays as it was" in taken.warnings[0]
    assert status(worktree) == ["?? one.py"]
    assert commit_leftovers(order, "Left over") is not None
    attach_private_git(order)
    head = commit_file(worktree, "two.py")
    assert harvest(order).head_sha == head


@pytest.mark.parametrize("text", ["", "garbage", "ref: refs/heads/../../../x", "ref: refs/heads/nothing", "0" * 40])
def test_a_head_that_says_nothing_useful_does_no_harm(bench, text):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    (Path(order.private_git) / "HEAD").write_text(text)
    assert harvest(order).head_sha == head


def test_false_parents_and_replacements_are_not_believed(bench):
    order = bench.attached()
    worktree, private = Path(order.worktree), Path(order.private_git)
    commit_file(worktree, "one.py")
    head = commit_file(worktree, "two.py")
    git(worktree, "replace", head, order.base_sha)
    (private / "info" / "grafts").write_text(f"{head} {order.base_sha}\n")
    (private / "shallow").write_text(f"{head}\n")
    assert harvest(order).head_sha == head
    assert measure(order, order.base_sha, [])["commits"] == 2


def test_a_branch_whose_objects_are_missing_is_refused(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    tree = git(Path(order.worktree), "rev-parse", "HEAD^{tree}")
    (Path(order.private_git) / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(GitError):
        harvest(order)
    assert bench.head(order.branch) == order.base_sha
    assert head not in git(bench.repo, "for-each-ref")


def test_commits_that_cannot_be_taken_leave_a_worktree_like_any_other_and_are_taken_once_they_can(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    head = commit_file(worktree, "one.py")
    (worktree / "open.txt").write_text("not committed\n")
    tree = git(worktree, "rev-parse", "HEAD^{tree}")
    lost = Path(order.private_git) / "objects" / tree[:2] / tree[2:]
    lost.rename(bench.repo / "kept-object")
    for _ in range(2):
        with pytest.raises(GitError):
            harvest(order)
        assert str(order.private_git) not in (worktree / ".git").read_text()
        assert git(worktree, "rev-parse", "HEAD") == order.base_sha
        assert sorted(status(worktree)) == ["?? one.py", "?? open.txt"]
        git(bench.repo, "worktree", "prune")
    (bench.repo / "kept-object").rename(lost)
    assert harvest(order).head_sha == head
    assert status(worktree) == ["?? open.txt"]


def test_a_branch_that_names_another_takes_only_its_commit(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    git(worktree, "switch", "-qc", "other")
    other = commit_file(worktree, "one.py")
    git(worktree, "symbolic-ref", f"refs/heads/{order.branch}", "refs/heads/other")
    assert harvest(order).head_sha == other
    assert git(bench.repo, "for-each-ref", "--format=%(refname)", "refs/heads").split() == [
        f"refs/heads/{order.branch}",
        "refs/heads/main",
    ]


def test_nested_repositories_do_not_break_or_enter_the_commit(bench, canary):
    order = bench.attached()
    worktree = Path(order.worktree)
    for name in ("empty", "full"):
        git(worktree, "init", "-q", "--template=", name)
    commit_file(worktree / "full", "x")
    plant(worktree / "full" / ".git", canary)
    (worktree / "app.py").unlink()  # a tracked file becomes a repository
    git(worktree, "init", "-q", "--template=", "app.py")
    (worktree / "src" / "mod.py").unlink()  # and another a folder
    (worktree / "src" / "mod.py").mkdir()
    (worktree / "src" / "mod.py" / "x").write_text("x")
    (worktree / "new.py").write_text("x")
    harvest(order)
    assert find_leftovers(order).nested == ["app.py", "empty", "full"]
    assert commit_leftovers(order, "Left over") is not None
    assert git(worktree, "ls-tree", "-r", "--name-only", "HEAD").split("\n") == [
        ".gitignore",
        "new.py",
        "pytest.ini",
        "src/mod.py/x",
        "tests/test_app.py",
    ]
    assert not canary.exists()


def test_a_submodule_with_settings_of_the_agent_is_not_entered(bench, tmp_path, canary):
    git(tmp_path, "clone", "-q", str(bench.repo), "library")
    git(bench.repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "library"), "lib")
    git(bench.repo, "commit", "-q", "-m", "Library")
    order = bench.attached()
    worktree = Path(order.worktree)
    (worktree / "lib").rmdir()
    git(worktree, "clone", "-q", str(tmp_path / "library"), "lib")
    plant(worktree / "lib" / ".git", canary)
    (worktree / "lib" / "app.py").write_text("changed\n")
    (worktree / "new.py").write_text("x\n")
    harvest(order)
    assert commit_leftovers(order, "Left over") is not None
    attach_private_git(order)
    harvest(order)
    with pytest.raises(WorkInDanger):
        remove_worktree(order)
    assert not canary.exists()
    assert measure(order, order.base_sha, [])["files_changed"] == ["new.py"]


def test_a_worktree_that_became_a_link_is_not_written_through(bench, tmp_path):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    Path(order.worktree).rename(tmp_path / "moved")
    (tmp_path / "victim").mkdir()
    Path(order.worktree).symlink_to(tmp_path / "victim")
    taken = harvest(order)
    assert taken.head_sha == head
    assert "is not a folder" in taken.warnings[0]
    with pytest.raises(WorkspaceMismatch):
        commit_leftovers(order, "Left over")
    assert list((tmp_path / "victim").iterdir()) == []


def test_folders_where_git_has_files_keep_no_work_from_being_taken_over(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "new.txt")
    private = Path(order.private_git)
    for name in ("objects/info/alternates", "packed-refs"):
        (private / name).unlink()
        (private / name).mkdir()
    here = os.open(private / "refs" / "heads", os.O_RDONLY)
    for _ in range(1_200):  # deeper than Python calls itself
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    try:
        assert harvest(order).head_sha == head
        assert attach_private_git(order) == []
    finally:
        remove_folder(private)  # pytest could not


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_an_index_in_which_the_agent_says_that_nobody_need_look_at_a_file_is_not_believed(bench, flag):
    order = bench.attached()
    worktree = Path(order.worktree)
    entry = find_entry(order.git_common_dir, worktree)
    git(worktree, f"--git-dir={entry}", f"--work-tree={worktree}", "update-index", flag, "app.py")
    (worktree / "app.py").write_text("print('bye')\n", encoding="utf-8")
    harvest(order)
    assert commit_leftovers(order, "left") is not None
    assert git(bench.repo, "show", f"{order.branch}:app.py") == "print('bye')"


def test_an_index_that_the_agent_has_written_leaves_a_sparse_checkout_sparse(bench):
    git(bench.repo, "sparse-checkout", "set", "--cone", "src")
    order = bench.attached()
    worktree = Path(order.worktree)
    entry = find_entry(order.git_common_dir, worktree)
    git(worktree, f"--git-dir={entry}", f"--work-tree={worktree}", "update-index", "--assume-unchanged", "app.py")
    (worktree / "app.py").write_text("print('bye')\n", encoding="utf-8")
    harvest(order)
    assert commit_leftovers(order, "left") is not None
    assert git(bench.repo, "diff", "--name-only", order.base_sha, order.branch) == "app.py"
