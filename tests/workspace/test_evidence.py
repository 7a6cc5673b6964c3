"""What changed, measured by git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file

from haikud.contracts.evidence import Evidence
from haikud.workspace.evidence import covers, is_test_path, measure
from haikud.workspace.git import WorkspaceError


def test_commits_files_and_summary_count_from_the_start(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    commit_file(worktree, "new ö.py", "a\nb\n")
    git(worktree, "mv", "src/mod.py", "src/renamed.py")
    git(worktree, "commit", "-q", "-m", "Rename")
    head = commit_file(worktree, "app.py", "print('bye')\n")
    measured = measure(order, order.base_sha, ["app.py", "src/"], copied=[".env"])
    assert measured.pop("warnings") == []
    assert Evidence.model_validate(measured) == Evidence(
        base_sha=order.base_sha,
        head_sha=head,
        branch=order.branch,
        worktree=order.worktree,
        commits=3,
        files_changed=["app.py", "new ö.py", "src/mod.py", "src/renamed.py"],
        diffstat="4 files changed, 4 insertions(+), 2 deletions(-)",
        undeclared_files=["new ö.py"],
        excluded_files=[".env"],
    )


def test_without_work_there_is_nothing(bench):
    order = bench.prepared()
    measured = measure(order, order.base_sha, ["app.py"])
    assert (measured["commits"], measured["files_changed"], measured["diffstat"]) == (0, [], "")


def test_tests_and_their_settings_that_were_there_before_are_noted(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    git(worktree, "rm", "-q", "tests/test_app.py")
    commit_file(worktree, "pytest.ini", "[pytest]\naddopts = -k nothing\n")
    commit_file(worktree, "tests/test_new.py")
    commit_file(worktree, "app.py", "x\n")
    assert measure(order, order.base_sha, [])["tests_touched"] == ["M pytest.ini", "D tests/test_app.py"]


def test_a_test_that_was_moved_away_counts_as_deleted(bench):
    order = bench.prepared()
    git(Path(order.worktree), "mv", "tests/test_app.py", "unused.txt")
    git(Path(order.worktree), "commit", "-q", "-m", "Move")
    assert measure(order, order.base_sha, [])["tests_touched"] == ["D tests/test_app.py"]


def test_a_rewritten_history_is_measured_and_noted(bench):
    commit_file(bench.repo, "second.py")
    order = bench.prepared()
    worktree = Path(order.worktree)
    git(worktree, "reset", "-q", "--hard", "HEAD~1")
    commit_file(worktree, "new.py")
    measured = measure(order, order.base_sha, ["new.py"])
    assert measured["commits"] == 1
    assert measured["files_changed"] == ["new.py", "second.py"]  # what it undid shows too
    assert measured["undeclared_files"] == ["second.py"]
    assert "its history was rewritten" in measured["warnings"][0]


def test_a_history_of_its_own_is_measured_too(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    git(worktree, "checkout", "-q", "--orphan", "temporary")
    git(worktree, "commit", "-q", "-m", "A root of its own")
    git(worktree, "branch", "-qM", order.branch)
    measured = measure(order, order.base_sha, [])
    assert (measured["commits"], measured["files_changed"]) == (1, [])
    assert measured["warnings"]


def test_a_copied_file_that_was_committed_all_the_same_is_noted(bench):
    order = bench.prepared()
    commit_file(Path(order.worktree), ".env", "KEY=secret\n")
    measured = measure(order, order.base_sha, [], copied=[".env"])
    assert measured["warnings"] == ["the agent committed .env, which was copied in and is not part of the repository"]


def test_names_that_are_not_utf8_or_have_line_breaks_survive_json(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    (worktree / "a\nb").write_text("x")
    Path(os.fsdecode(bytes(worktree) + b"/bad\xff.py")).write_text("x")
    git(worktree, "add", "-A")
    git(worktree, "commit", "-q", "-m", "Odd")
    measured = measure(order, order.base_sha, [])
    assert measured["files_changed"] == ["a\nb", "bad\\xff.py"]
    Evidence.model_validate(measured).model_dump_json()


def test_without_the_branch_there_is_nothing_to_measure(bench):
    with pytest.raises(WorkspaceError, match="there is no branch"):
        measure(bench.order(), bench.head(), [])


@pytest.mark.parametrize(
    "path",
    [
        "test_x.py",
        "src/x_test.go",
        "a/b.test.tsx",
        "a/b.spec.js",
        "tests/data/x.json",
        "src/__tests__/x.js",
        "src/test/java/AppTest.java",
        "AppTests.cs",
        "conftest.py",
        "x/pytest.ini",
        "jest.config.ts",
        "vitest.config.mjs",
        "tox.ini",
        "setup.cfg",
        "pyproject.toml",
        "package.json",
        "Makefile",
        "spec/models/user_spec.rb",
        "x.snap",
    ],
)
def test_what_counts_as_a_test(path):
    assert is_test_path(path)


@pytest.mark.parametrize("path", ["app.py", "src/contest.py", "latest.txt", "attest/x.py", "README.md", "testify.py"])
def test_what_does_not(path):
    assert not is_test_path(path)


def test_declared_paths_cover_folders_and_patterns():
    assert covers(["src/"[:-1]], "src/a/b.py")
    assert covers(["src/*.py"], "src/a.py")
    assert covers(["a.py"], "a.py")
    assert not covers(["a.py", "src"], "srcs/a.py")
