"""What admission asks a repository."""

from __future__ import annotations

import pytest
from tests.support.repository import git

from haikud.workspace import repository
from haikud.workspace.repository import NotARepository, inspect_repository, read_files_at


def test_a_subfolder_leads_to_its_top_level(bench):
    facts = inspect_repository(bench.repo / "src")
    assert facts.top == str(bench.repo)
    assert facts.git_common_dir == str(bench.repo / ".git")
    assert (facts.main_branch, facts.base_sha) == ("main", bench.head())
    assert [facts.dirty, facts.bare, facts.detached] == [False] * 3


def test_a_symlink_to_it_is_resolved(bench, tmp_path):
    (tmp_path / "link").symlink_to(bench.repo)
    assert inspect_repository(tmp_path / "link").top == str(bench.repo)


def test_the_asked_branch_counts_and_not_the_current_one(bench):
    git(bench.repo, "switch", "-qc", "other")
    git(bench.repo, "commit", "-q", "--allow-empty", "-m", "More")
    assert inspect_repository(bench.repo).main_branch == "other"
    facts = inspect_repository(bench.repo, "main")
    assert (facts.main_branch, facts.base_sha) == ("main", git(bench.repo, "rev-parse", "main"))


def test_uncommitted_changes_of_tracked_files_are_dirty(bench):
    (bench.repo / "new.py").write_text("x\n")
    assert not inspect_repository(bench.repo).dirty
    (bench.repo / "app.py").write_text("x\n")
    assert inspect_repository(bench.repo).dirty


def test_a_detached_head_starts_at_its_commit(bench):
    git(bench.repo, "switch", "-q", "--detach")
    facts = inspect_repository(bench.repo)
    assert facts.detached
    assert facts.main_branch == facts.base_sha == git(bench.repo, "rev-parse", "main")


def test_a_bare_repository_is_fine(bench, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(bench.repo), "bare.git")
    facts = inspect_repository(tmp_path / "bare.git")
    assert facts.bare
    assert facts.top == facts.git_common_dir == str((tmp_path / "bare.git").resolve())
    assert facts.base_sha == bench.head()


def test_a_linked_worktree_has_its_own_top_and_the_common_git_folder(bench, tmp_path):
    git(bench.repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    facts = inspect_repository(tmp_path / "linked")
    assert facts.top == str(tmp_path / "linked")
    assert facts.git_common_dir == str(bench.repo / ".git")


def test_what_is_no_repository_is_said(bench, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        tmp_path / "nowhere": "does not exist",
        bench.repo / "app.py": "is not a folder",
        empty: "is not a git repository",
        bench.repo / ".git" / "refs": "lies inside a repository's .git folder",
    }
    for path, why in cases.items():
        with pytest.raises(NotARepository) as caught:
            inspect_repository(path)
        assert caught.value.why == why
        assert caught.value.path == str(path)


def test_without_a_commit_or_the_branch_it_cannot_start(bench, tmp_path):
    git(tmp_path, "init", "-q", "--template=", "fresh")
    with pytest.raises(NotARepository, match="has no commit yet"):
        inspect_repository(tmp_path / "fresh")
    with pytest.raises(NotARepository, match="has no branch 'develop'; it has main"):
        inspect_repository(bench.repo, "develop")
    with pytest.raises(NotARepository, match="has no branch '--help'"):
        inspect_repository(bench.repo, "--help")


def test_settings_that_start_programs_are_not_obeyed(bench, tmp_path):
    git(bench.repo, "config", "core.fsmonitor", f"touch {tmp_path}/canary")
    inspect_repository(bench.repo)
    assert not (tmp_path / "canary").exists()


def test_files_of_a_folder_are_read_as_they_were(bench, monkeypatch):
    roles = bench.repo / ".claude" / "agents"
    (roles / "deeper").mkdir(parents=True)
    (roles / "one ö.md").write_bytes(b"one\xff\n")
    (roles / "two.md").write_bytes(b"")
    (roles / "large.md").write_bytes(b"x" * 300_000)
    (roles / "link.md").symlink_to("/etc/passwd")
    (roles / "deeper" / "three.md").write_bytes(b"3")
    git(bench.repo, "add", "-A")
    git(bench.repo, "commit", "-q", "-m", "Roles")
    facts = inspect_repository(bench.repo)
    (roles / "one ö.md").write_bytes(b"changed")
    found = {"deeper/three.md": b"3", "one ö.md": b"one\xff\n", "two.md": b""}
    assert read_files_at(facts.git_common_dir, facts.base_sha, ".claude/agents") == found
    monkeypatch.setattr(repository, "MOST_FILES_READ", 2)
    assert len(read_files_at(facts.git_common_dir, facts.base_sha, ".claude/agents")) == 2
    assert read_files_at(facts.git_common_dir, facts.base_sha, "no/such") == {}
