"""What git said of a repository a moment ago is used again only where nothing says that it may have changed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import git, make_repository

from haikud.workspace import looks, repository
from haikud.workspace.git import Git, Ran
from haikud.workspace.looks import RecentLooks
from haikud.workspace.repository import NotAllowed, NotARepository, inspect_repository


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "project", {"app.py": "1\n", "src/a.py": "1\n"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git commands that `inspect_repository` runs."""
    commands: list[str] = []

    class Listed(Git):
        def ask(self, *args: str, **more: Any) -> Ran:
            commands.append(args[0])
            return super().ask(*args, **more)

    monkeypatch.setattr(repository, "Git", Listed)
    return commands


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen is remembered for long."""
    monkeypatch.setattr(looks, "SHARE", 1e-6)


def test_a_repository_is_asked_two_things_and_then_nothing_for_a_moment(project: Path, asked: list[str], long: None):
    seen = RecentLooks()
    first = inspect_repository(project, looks=seen)
    assert asked == ["rev-parse", "status"]
    assert inspect_repository(project, looks=seen) == first
    assert inspect_repository(project, "main", looks=seen) == first
    git(project, "branch", "other")
    assert asked[2:] == []
    assert inspect_repository(project, "other", looks=seen).base_sha == first.base_sha
    assert asked[2:] == ["rev-parse"]
    del asked[:]
    inspect_repository(project / "src", looks=seen)  # no top: found by git each time
    inspect_repository(project / "src", looks=seen)
    assert asked.count("rev-parse") == 2


def test_a_commit_and_what_was_staged_are_seen_at_once(project: Path, long: None):
    seen = RecentLooks()
    before = inspect_repository(project, looks=seen)
    git(project, "commit", "-q", "--allow-empty", "-m", "second")
    after = inspect_repository(project, looks=seen)
    assert (after.base_sha, after.dirty) == (git(project, "rev-parse", "HEAD"), False)
    assert after.base_sha != before.base_sha
    (project / "app.py").write_text("changed\n", encoding="utf-8")
    git(project, "add", "app.py")
    assert inspect_repository(project, looks=seen).dirty
    git(project, "checkout", "-q", "-b", "other")
    assert inspect_repository(project, looks=seen).main_branch == "other"
    git(project, "checkout", "-q", "--detach")
    assert inspect_repository(project, looks=seen).detached


def test_what_is_not_staged_is_seen_after_ten_times_as_long_as_asking_takes(project: Path):
    seen = RecentLooks()
    assert not inspect_repository(project, looks=seen).dirty
    (project / "app.py").write_text("changed\n", encoding="utf-8")
    give_up_at = time.monotonic() + looks.MOST_SECONDS
    while not inspect_repository(project, looks=seen).dirty:
        assert time.monotonic() < give_up_at


def test_a_place_that_is_another_repository_now_is_asked_anew(project: Path, long: None):
    seen = RecentLooks()
    inspect_repository(project, looks=seen)
    shutil.rmtree(project / ".git")
    with pytest.raises(NotARepository, match="is not a git repository"):
        inspect_repository(project, looks=seen)
    git(project, "init", "-q", "-b", "trunk")
    git(project, "commit", "-q", "--allow-empty", "-m", "anew")
    assert inspect_repository(project, looks=seen).main_branch == "trunk"
    git(project, "config", "core.bare", "true")
    assert inspect_repository(project, looks=seen).bare


def test_who_may_work_there_is_asked_each_time(project: Path, long: None):
    seen = RecentLooks()
    inspect_repository(project, looks=seen)
    with pytest.raises(NotAllowed):
        inspect_repository(project, looks=seen, why_not=lambda where: f"is refused: {where.top}")
