"""The agent's own git: put in place, worked in, harvested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.repository import CLEAN_GIT, git, make_repository
from tests.workspace.conftest import commit_file, run, status

from haikud.workspace.commits import commit_leftovers
from haikud.workspace.ownership import expect_owner
from haikud.workspace.private_git import attach_private_git, detach_private_git, harvest
from haikud.workspace.worktrees import prepare_worktree


def test_what_the_agent_commits_arrives_on_the_branch(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    assert status(worktree) == []
    assert git(worktree, "branch", "--show-current") == order.branch
    head = commit_file(worktree, "new ü.py")
    assert git(worktree, "diff", "--stat", "main").endswith("1 insertion(+)")
    assert bench.head(order.branch) == order.base_sha  # not before the harvest
    taken = harvest(order)
    assert (taken.head_sha, taken.warnings) == (head, [])
    assert bench.head(order.branch) == head
    assert status(worktree) == []
    assert git(worktree, "log", "--format=%s") == "Work\nStart"
    assert git(bench.repo, "fsck", "--no-dangling") == ""


def test_what_is_left_uncommitted_shows_in_git_status(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    commit_file(worktree, "new.py")
    (worktree / "app.py").write_text("changed\n")
    (worktree / "src" / "mod.py").unlink()
    (worktree / "staged.py").write_text("x\n")
    git(worktree, "add", "staged.py")
    inside = status(worktree)
    harvest(order)
    assert inside == [" M app.py", " D src/mod.py", "A  staged.py"]
    assert status(worktree) == [" M app.py", " D src/mod.py", "?? staged.py"]


def test_the_agent_cannot_move_other_refs_of_the_repository(bench):
    git(bench.repo, "tag", "v1")
    git(bench.repo, "branch", "other")
    order = bench.attached()
    worktree = Path(order.worktree)
    base = bench.head()
    head = commit_file(worktree, "new.py")
    git(worktree, "branch", "-f", "main", "HEAD")
    git(worktree, "tag", "-f", "v1", "HEAD")
    git(worktree, "update-ref", "refs/heads/other", "HEAD")
    git(worktree, "config", "core.hooksPath", "/elsewhere")
    assert harvest(order).head_sha == head
    assert bench.head() == bench.head("other") == git(bench.repo, "rev-parse", "v1") == base
    assert "elsewhere" not in (bench.repo / ".git" / "config").read_text()


def test_tags_and_remote_branches_can_be_read_inside(bench):
    git(bench.repo, "tag", "-a", "v1", "-m", "One")
    git(bench.repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    order = bench.attached()
    assert git(Path(order.worktree), "describe", "--tags") == "v1"
    assert git(Path(order.worktree), "rev-parse", "origin/main") == order.base_sha


def test_a_second_attempt_goes_on_from_the_repository(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    commit_file(worktree, "one.py")
    (worktree / "two.py").write_text("left\n")
    harvest(order)
    left = commit_leftovers(order, "Left over")
    assert left is not None
    assert not prepare_worktree(order).created
    assert attach_private_git(order) == []
    assert status(worktree) == []
    assert git(worktree, "rev-parse", "HEAD") == left
    (worktree / "app.py").write_text("half done\n")
    head = commit_file(worktree, "three.py")
    assert harvest(order).head_sha == head
    assert status(worktree) == [" M app.py"]
    assert attach_private_git(order) == []
    assert status(worktree) == [" M app.py"]  # and no working file was touched


def test_harvest_may_be_repeated_and_never_takes_back_what_came_after(bench):
    order = bench.attached()
    commit_file(Path(order.worktree), "one.py")
    (Path(order.worktree) / "two.py").write_text("left\n")
    harvest(order)
    left = commit_leftovers(order, "Left over")
    assert harvest(order).head_sha == left
    assert harvest(order).warnings == []


def test_a_crashed_attempt_is_harvested_before_the_next(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    (Path(order.worktree) / "app.py").write_text("half done\n")
    assert prepare_worktree(order).branch_tip == order.base_sha
    assert attach_private_git(order) == []
    assert bench.head(order.branch) == head
    assert git(Path(order.worktree), "rev-parse", "HEAD") == head
    assert status(order.worktree) == [" M app.py"]


def test_a_rewritten_branch_is_taken_and_the_old_head_kept(bench):
    order = bench.attached()
    first = commit_file(Path(order.worktree), "one.py")
    harvest(order)
    attach_private_git(order)
    git(Path(order.worktree), "reset", "-q", "--hard", "HEAD~1")
    second = commit_file(Path(order.worktree), "two.py")
    taken = harvest(order)
    assert taken.head_sha == second
    assert "no longer contains its earlier head" in taken.warnings[0]
    assert git(bench.repo, "rev-parse", f"refs/haikud/kept/plan-1.task-1/{first[:12]}") == first


def test_detaching_puts_back_and_keeps_the_work_for_later(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    head = commit_file(worktree, "one.py")
    assert detach_private_git(order) == []
    assert detach_private_git(order) == []
    assert bench.head(order.branch) == order.base_sha == git(worktree, "rev-parse", "HEAD")
    assert status(worktree) == ["?? one.py"]
    prepare_worktree(order)
    attach_private_git(order)
    assert bench.head(order.branch) == head
    assert status(worktree) == []


def test_work_done_by_hand_after_detaching_wins(bench):
    order = bench.attached()
    theirs = commit_file(Path(order.worktree), "one.py")
    detach_private_git(order)
    mine = commit_file(Path(order.worktree), "by-hand.py")
    taken = harvest(order)
    assert taken.head_sha == mine
    assert taken.warnings == [f"{order.branch} has moved since; the agent's {theirs[:12]} stays in {order.private_git}"]


def test_commits_elsewhere_are_reported_and_kept(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    on_branch = commit_file(worktree, "one.py")
    git(worktree, "switch", "-qc", "my-idea")
    idea = commit_file(worktree, "two.py")
    git(worktree, "switch", "-q", "--detach")
    loose = commit_file(worktree, "three.py")
    taken = harvest(order)
    assert taken.head_sha == on_branch
    assert len(taken.warnings) == 2
    assert "1 commit(s) on my-idea" in taken.warnings[0]
    assert "2 commit(s) on a detached HEAD" in taken.warnings[1]
    assert status(worktree) == ["?? three.py", "?? two.py"]
    attach_private_git(order)
    assert git(worktree, "rev-parse", "my-idea") == idea
    assert git(worktree, "rev-parse", "refs/haikud/detached-head") == loose


def test_a_deleted_branch_leaves_the_repositorys_as_it_was(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    git(worktree, "switch", "-qc", "renamed")
    git(worktree, "branch", "-qD", order.branch)
    commit_file(worktree, "one.py")
    taken = harvest(order)
    assert taken.head_sha == order.base_sha
    assert any("has no branch feature/plan-1.task-1" in warning for warning in taken.warnings)
    assert any("1 commit(s) on renamed" in warning for warning in taken.warnings)


def test_an_unfinished_merge_is_reported(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    git(worktree, "switch", "-qc", "other")
    commit_file(worktree, "app.py", "theirs\n")
    git(worktree, "switch", "-q", order.branch)
    commit_file(worktree, "app.py", "ours\n")
    run("sh", "-c", "git merge -q other || true", cwd=worktree, **CLEAN_GIT)
    assert "the agent left a merge unfinished" in harvest(order).warnings


def test_copied_and_ignored_files_are_not_added_inside(bench, home):
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.swap")
    order = bench.prepared()
    attach_private_git(order, [".env", "odd [name] ", "deep/secret"])
    worktree = Path(order.worktree)
    (worktree / "deep").mkdir()
    for name in (".env", "odd [name] ", "deep/secret", "x.swap", "x.log", "odd n ", "deep/other"):
        (worktree / name).write_text("x")
    git(worktree, "-c", "core.excludesFile=/dev/null", "add", "-A")
    assert status(worktree) == ["A  deep/other", 'A  "odd n "']


def test_a_shallow_clone_works(bench, tmp_path):
    git(bench.repo, "commit", "-q", "--allow-empty", "-m", "Two")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{bench.repo}", "shallow")
    bench.repo = tmp_path / "shallow"
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    assert git(Path(order.worktree), "log", "--format=%s") == "Work\nTwo"
    assert harvest(order).head_sha == head
    assert git(bench.repo, "fsck", "--no-dangling") == ""


def test_a_sha256_repository_works(tmp_path, bench):
    bench.repo = tmp_path / "sha256"
    bench.repo.mkdir()
    git(bench.repo, "init", "-q", "-b", "main", "--template=", "--object-format=sha256")
    commit_file(bench.repo, "app.py")
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    assert len(head) == 64
    assert harvest(order).head_sha == head


def test_a_clone_that_borrows_objects_itself_works(bench, tmp_path):
    git(tmp_path, "clone", "-q", "--shared", str(bench.repo), "sharing")
    bench.repo = tmp_path / "sharing"
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    assert harvest(order).head_sha == head


def test_a_bare_repository_and_a_detached_checkout_work(bench, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(bench.repo), "bare.git")
    git(bench.repo, "switch", "-q", "--detach")
    for repo in (bench.repo, tmp_path / "bare.git"):
        bench.repo = repo
        order = bench.attached()
        head = commit_file(Path(order.worktree), "one.py")
        assert git(Path(order.worktree), "rev-list", "--count", f"{order.main_branch}..") == "1"
        assert harvest(order).head_sha == head


def test_odd_paths_work(tmp_path, bench):
    bench.repo = make_repository(tmp_path / 'r "q" \\ ö #', {"a": "x"})
    bench.spool = tmp_path / "spool with 'quotes' ü"
    order = bench.attached()
    worktree = Path(order.worktree)
    head = commit_file(worktree, 'new\nline "x" ö')
    assert harvest(order).head_sha == head
    assert status(worktree) == []


def test_a_sparse_checkout_stays_sparse(bench):
    git(bench.repo, "sparse-checkout", "set", "src")
    order = bench.attached()
    worktree = Path(order.worktree)
    assert not (worktree / "tests").exists()
    assert status(worktree) == []
    head = commit_file(worktree, "src/one.py")
    assert harvest(order).head_sha == head
    assert status(worktree) == []
    assert commit_leftovers(order, "Nothing") is None


def test_filters_of_the_user_hold_inside_and_outside(bench, home):
    git(bench.repo, "config", "--file", str(home / ".gitconfig"), "filter.up.clean", "tr a-z A-Z")
    git(bench.repo, "config", "filter.up.smudge", 'tr A-Z a-z # "quoted" \\ ; text')
    commit_file(bench.repo, ".gitattributes", "shout.txt filter=up\n")
    order = bench.attached()
    worktree = Path(order.worktree)
    # The agent has a home of its own, so what the user's settings say must have come along.
    (worktree / "shout.txt").write_text("loud\n")
    run("sh", "-c", "HOME=/nowhere git add shout.txt", cwd=worktree)
    git(worktree, "commit", "-qm", "Shout")
    assert git(worktree, "show", "HEAD:shout.txt") == "LOUD"
    harvest(order)
    assert run("git", "status", "--porcelain", cwd=worktree) == ""


def test_a_worktree_that_is_gone_still_yields_its_commits(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    run("rm", "-rf", order.worktree, cwd=bench.repo)
    taken = harvest(order)
    assert taken.head_sha == head
    assert "is gone" in taken.warnings[0]
    assert prepare_worktree(order).created
    assert (Path(order.worktree) / "one.py").exists()


def test_stale_locks_of_a_killed_git_do_not_stand_in_the_way(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    common = bench.repo / ".git"
    for path in (
        common / "worktrees" / "plan-1.task-1" / "index.lock",
        common / "refs" / "heads" / f"{order.branch}.lock",
        Path(order.private_git) / "index.lock",
    ):
        path.write_text("")
    assert harvest(order).head_sha == head
    assert status(order.worktree) == []


def test_while_at_work_the_worktree_is_locked_against_pruning(bench):
    order = bench.attached()
    locked = bench.repo / ".git" / "worktrees" / "plan-1.task-1" / "locked"
    assert locked.exists()
    assert expect_owner(order).attached_tip == order.base_sha
    harvest(order)
    assert not locked.exists()
    assert expect_owner(order).attached_tip is None
    git(bench.repo, "worktree", "remove", order.worktree)


def test_the_folders_are_for_us_alone(bench):
    order = bench.attached()
    assert Path(order.private_git).stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_repository_of_another_user_works(bench):
    for path in (bench.repo, *bench.repo.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    assert harvest(order).head_sha == head


def test_a_partial_clone_works_where_its_remote_is_within_reach(bench, tmp_path):
    git(bench.repo, "config", "uploadpack.allowFilter", "true")
    commit_file(bench.repo, "app.py", "second\n")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{bench.repo}", "partial")
    bench.repo = tmp_path / "partial"
    order = bench.attached()
    head = commit_file(Path(order.worktree), "app.py", "third\n")
    assert harvest(order).head_sha == head
    assert status(order.worktree) == []


@pytest.mark.parametrize("how", ["ended", "killed", "salvaged"])
def test_what_tests_commit_is_nobodys_work_also_after_a_crash(bench, how):
    order = bench.prepared()
    worktree = Path(order.worktree)
    assert attach_private_git(order, for_tests=True) == []
    before = bench.head(order.branch)
    made = commit_file(worktree, "made-by-a-test.py")
    if how == "ended":
        assert detach_private_git(order) == []
    elif how == "salvaged":
        assert harvest(order).head_sha == before
    assert attach_private_git(order) == []
    assert bench.head(order.branch) == before == git(worktree, "rev-parse", "HEAD") != made
    work = commit_file(worktree, "work.py")
    assert harvest(order).head_sha == work == bench.head(order.branch)


def test_no_lock_that_a_killed_agent_left_keeps_the_next_one_from_committing(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "one.py")
    for name in ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", f"refs/heads/{order.branch}.lock"):
        (Path(order.private_git) / name).touch()
    assert harvest(order).head_sha == head
    attach_private_git(order)
    second = commit_file(Path(order.worktree), "two.py")
    git(Path(order.worktree), "config", "user.nickname", "somebody")
    assert harvest(order).head_sha == second


def test_what_an_agent_stashed_stays_and_is_told(bench):
    order = bench.attached()
    worktree = Path(order.worktree)
    (worktree / "app.py").write_text("unfinished\n")
    git(worktree, "stash", "-q")
    stashed = git(worktree, "rev-parse", "refs/stash")
    assert "on refs/stash" in harvest(order).warnings[0]
    attach_private_git(order)
    assert git(worktree, "rev-parse", "refs/stash") == stashed
    git(worktree, "stash", "apply", "-q", stashed)
    assert (worktree / "app.py").read_text() == "unfinished\n"
