"""What git said of a repository a moment ago is used again only where nothing says that it may have changed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import git, make_repository
from tests.support.waiting import wait_until

from haikud.workspace import looks, repository, tracked_files
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


def settled(project: Path) -> Path:
    """Files as they are when nobody has just written them."""
    for path in project.glob("**/*.py"):
        wait_until(lambda path=path: time.time_ns() - path.stat().st_ctime_ns > 25_000_000, what="time to pass")
    return project


@pytest.fixture
def unremembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time is long after the one before."""
    monkeypatch.setattr(looks, "MOST_SECONDS", 0.0)


def test_a_clean_checkout_is_seen_to_be_clean_without_git(project: Path, asked: list[str], unremembered: None):
    seen = RecentLooks()
    inspect_repository(settled(project), looks=seen)
    del asked[:]
    for _ in range(3):
        assert not inspect_repository(project, looks=seen).dirty
    assert asked == []


@pytest.mark.parametrize("change", ["same size", "same size and time", "removed", "a link", "executable", "put back"])
def test_a_changed_file_is_seen_at_once(project: Path, asked: list[str], unremembered: None, change: str):
    seen = RecentLooks()
    inspect_repository(settled(project), looks=seen)
    path = project / "src/a.py"
    before = path.stat()
    if change == "removed":
        path.unlink()
    elif change == "a link":
        path.unlink()
        path.symlink_to("../app.py")
    elif change == "executable":
        path.chmod(0o755)
    else:
        path.write_text("1\n" if change == "put back" else "2\n", encoding="utf-8")
        if change == "same size and time":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    del asked[:]
    assert inspect_repository(project, looks=seen).dirty is (change != "put back")
    assert asked == ["status"]


def test_a_change_is_seen_where_an_index_lists_only_what_differs_from_a_shared_one(project: Path, unremembered: None):
    for name in ("src/a.py", "b.py", "c.py"):
        (project / name).write_text("old\n", encoding="utf-8")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "second")
    git(project, "update-index", "--split-index")
    (project / "c.py").write_text("new\n", encoding="utf-8")
    git(project, "-c", "splitIndex.maxPercentChange=100", "commit", "-q", "-a", "-m", "third")
    seen = RecentLooks()
    assert not inspect_repository(settled(project), looks=seen).dirty
    (project / "b.py").write_text("changed\n", encoding="utf-8")
    assert inspect_repository(project, looks=seen).dirty


def test_a_folder_that_became_a_link_to_where_its_files_are_now_is_seen(project: Path, unremembered: None):
    seen = RecentLooks()
    assert not inspect_repository(settled(project), looks=seen).dirty
    (project / "src").rename(project / "moved")
    (project / "src").symlink_to("moved")
    assert inspect_repository(project, looks=seen).dirty
    assert "D src/a.py" in git(project, "status", "--porcelain")  # which writes the index


@pytest.mark.parametrize(
    "kind",
    [
        *("version 4", "cut off after 0", "cut off after 61", "cut off after 65"),
        "sparse",
        "split",
        "many",
        "just written",
    ],
)
def test_where_the_index_does_not_tell_git_is_asked(
    project: Path, asked: list[str], unremembered: None, kind: str, monkeypatch: pytest.MonkeyPatch
):
    if kind == "version 4":
        git(project, "update-index", "--index-version", "4")
    elif kind == "sparse":
        git(project, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
    elif kind == "split":
        git(project, "update-index", "--split-index")
    elif kind == "many":
        monkeypatch.setattr(tracked_files, "_MOST_FILES", 1)
    seen = RecentLooks()
    if kind != "just written":
        settled(project)
    else:
        monkeypatch.setattr(tracked_files, "_TICK_NS", 10**18)
    if kind.startswith("cut"):
        cut = int(kind.rsplit(maxsplit=1)[-1])
        monkeypatch.setattr(tracked_files, "read_small", lambda path, _: path.read_bytes()[: 12 + cut])
    inspect_repository(project, looks=seen)
    del asked[:]
    assert not inspect_repository(project, looks=seen).dirty
    assert asked == ["status"]


def test_names_are_read_as_git_lists_them(project: Path):
    names = ["ä b", "x" * 250, *("n" * length for length in range(1, 20)), "later"]
    for name in names:
        (project / name).write_text("1\n", encoding="utf-8")
    git(project, "add", ".")
    git(project, "rm", "-q", "--cached", "later")
    git(project, "add", "--intent-to-add", "later")  # which makes it an index of version 3
    listed = git(project, "-c", "core.quotePath=false", "ls-files", "-z").split("\0")
    found = tracked_files.note_files("nowhere", str(project / ".git"), 20)
    assert found == {f"nowhere/{name}": () for name in (*listed, "src") if name}


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
