"""Commits that haikud makes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file, status

from haikud.workspace.checks import WorkspaceMismatch
from haikud.workspace.commits import MergeConflict, commit_leftovers, merge_dependencies
from haikud.workspace.git import GitError, WorkspaceError
from haikud.workspace.ownership import BranchTaken
from haikud.workspace.worktrees import prepare_worktree


def test_everything_left_is_committed_by_haikud(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    (worktree / "app.py").write_text("changed\n")
    (worktree / "src" / "mod.py").unlink()
    (worktree / "new\nline ö.py").write_text("new\n")
    (worktree / "tests" / "link").symlink_to("nowhere")
    (worktree / "run.sh").write_text("x")
    (worktree / "run.sh").chmod(0o755)
    (worktree / "x.log").write_text("ignored")
    head = commit_leftovers(order, "Keep what the agent left\n\nMore.", identity=("Ha Ikud", "h@example.org"))
    assert head == bench.head(order.branch)
    assert (
        git(worktree, "log", "-1", "--format=%an %ae %cn %s|%b")
        == "Ha Ikud h@example.org Ha Ikud Keep what the agent left|More."
    )
    assert status(worktree) == []
    assert git(worktree, "ls-tree", "HEAD", "run.sh").startswith("100755")
    assert commit_leftovers(order, "Again") is None


def test_excluded_files_stay_out_and_stay_there(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    (worktree / "secrets").mkdir()
    for name in (".env", "secrets/key", "new.py"):
        (worktree / name).write_text("x")
    assert commit_leftovers(order, "Left", exclude=[".env", "secrets/"]) is not None
    assert git(worktree, "show", "--format=", "--name-only") == "new.py"
    assert status(worktree) == ["?? .env", "?? secrets/key"]
    assert commit_leftovers(order, "Left", exclude=[".env", "secrets"]) is None


def test_a_file_that_only_looks_changed_makes_no_commit(bench):
    order = bench.prepared()
    path = Path(order.worktree) / "app.py"
    path.write_text(path.read_text())
    assert commit_leftovers(order, "Left") is None


def test_line_endings_follow_the_repository(bench):
    commit_file(bench.repo, ".gitattributes", "* text=auto\n")
    order = bench.prepared()
    (Path(order.worktree) / "dos.txt").write_bytes(b"a\r\nb\r\n")
    commit_leftovers(order, "Left")
    assert git(Path(order.worktree), "cat-file", "-p", "HEAD:dos.txt") == "a\nb"


def test_nothing_is_committed_where_it_does_not_belong(bench):
    attached = bench.attached("a")
    (Path(attached.worktree) / "new.py").write_text("x")
    with pytest.raises(WorkspaceMismatch, match="harvest it first"):
        commit_leftovers(attached, "Left")
    order = bench.prepared("b")
    git(Path(order.worktree), "switch", "-qc", "elsewhere")
    with pytest.raises(WorkspaceMismatch):
        commit_leftovers(order, "Left")
    with pytest.raises(BranchTaken):
        commit_leftovers(bench.order("c"), "Left")


def dependencies(bench, text_a="a\n", text_b="b\n", name_a="a.py", name_b="b.py"):
    for ref, name, text in (("a", name_a, text_a), ("b", name_b, text_b)):
        order = bench.prepared(ref)
        commit_file(Path(order.worktree), name, text)
    order = bench.order("c", merge_refs=["feature/a", "feature/b"])
    prepare_worktree(order)
    return order


def test_a_dependant_starts_from_its_dependencies(bench):
    order = dependencies(bench)
    start = merge_dependencies(order)
    worktree = Path(order.worktree)
    assert {"a.py", "b.py"} <= {p.name for p in worktree.iterdir()}
    assert git(worktree, "log", "-1", "--format=%an %s") == "haikud Merge feature/b into feature/c"
    assert status(worktree) == []
    work = commit_file(worktree, "c.py")
    commit_file(Path(bench.order("a").worktree), "later.py")
    assert merge_dependencies(order) == start  # once, whatever came later
    prepared = prepare_worktree(order)
    assert (prepared.start_sha, prepared.branch_tip) == (start, work)


def test_a_conflict_names_the_files_and_leaves_nothing(bench):
    order = dependencies(bench, name_a="app.py", name_b="app.py")
    with pytest.raises(MergeConflict) as caught:
        merge_dependencies(order)
    assert (caught.value.branch, caught.value.files) == ("feature/b", ["app.py"])
    assert bench.head(order.branch) == order.base_sha
    assert status(order.worktree) == []
    git(Path(bench.order("b").worktree), "reset", "-q", "--hard", "HEAD~1")  # a person mends it
    assert merge_dependencies(order) == bench.head("feature/a")


def test_settings_of_the_user_do_not_change_how_it_merges(bench, home):
    (home / ".gitconfig").write_text(
        "[merge]\n\tff = only\n\tautoStash = true\n[commit]\n\tgpgSign = true\n[user]\n\tsigningKey = x\n"
    )
    order = dependencies(bench)
    assert merge_dependencies(order) == bench.head(order.branch)


def test_a_dependency_without_a_branch_is_said(bench):
    order = bench.prepared("c", merge_refs=["feature/none"])
    with pytest.raises(WorkspaceError, match="there is no branch feature/none"):
        merge_dependencies(order)
    assert merge_dependencies(order, []) == order.base_sha


def test_what_a_merge_that_was_cut_short_had_checked_out_is_no_conflict(bench, tmp_path):
    first = bench.prepared("a")
    (Path(first.worktree) / "deep").mkdir()
    commit_file(Path(first.worktree), "deep/a.py")
    order = bench.order("b", merge_refs=["feature/a"])
    prepare_worktree(order)
    place = Path(order.worktree)
    (place / "deep").mkdir()
    (place / "deep" / "a.py").write_text("ha")  # a killed git had written half of it
    (place / "mine.txt").write_text("mine")
    assert merge_dependencies(order) == bench.head("feature/a")
    assert (place / "deep" / "a.py").read_text() == (Path(first.worktree) / "deep" / "a.py").read_text()
    assert (place / "mine.txt").read_text() == "mine"


def test_nothing_beyond_the_worktree_is_removed_for_a_merge(bench, tmp_path):
    first = bench.prepared("a")
    (Path(first.worktree) / "deep").mkdir()
    commit_file(Path(first.worktree), "deep/a.py")
    order = bench.order("b", merge_refs=["feature/a"])
    prepare_worktree(order)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.py").write_text("not ours")
    (Path(order.worktree) / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises((MergeConflict, GitError)):
        merge_dependencies(order)
    assert (tmp_path / "elsewhere" / "a.py").read_text() == "not ours"
