"""Which repositories a plan may name: real paths against the settings' list, whose they are, and who writes there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.engine.admission.conftest import Desk
from tests.spool.another_user import NOBODY, needs_root
from tests.support.repository import git, make_repository

from haikud.contracts.settings import SandboxSettings, Settings
from haikud.engine.listed_repositories import why_not_listed


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A repository whose settings run a program for whoever asks git for its state."""
    made = make_repository(tmp_path / "other")
    (made / ".gitattributes").write_text("*.py filter=evil\n")
    git(made, "add", "-A")
    git(made, "commit", "-qm", "Filter")
    git(made, "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    os.utime(made / "calc.py", (1, 1))  # of the same size and another time: git must read it, through the filter
    return made


def refusal(desk: Desk, **fields: Any) -> str:
    faults = desk.faults({"title": "T", **fields})
    (pointer,) = faults
    assert faults[pointer].code == "REPOSITORY_NOT_ALLOWED", faults
    assert pointer in {"/repository", "/context/repository"}
    return faults[pointer].found


def test_only_what_is_listed_is_worked_in_whatever_leads_there(desk: Desk, other: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(other)
    listed = desk.repository.parent
    desk.set(repositories=[str(listed)])
    assert desk.prepare({"title": "T"}).tasks[0].repository is not None
    for path in (other, tmp_path / "link", f"{listed}/{os.path.relpath(other, listed)}", f"{other}/tests/.."):
        assert "none of the settings' repositories" in refusal(desk, repository=str(path))
    assert "none of" in refusal(desk, context={"repository": str(other)})
    desk.set(default_repository=str(other))
    assert "the settings' default_repository" in refusal(desk)
    assert not (tmp_path / "ran").exists()  # git was asked nothing there but where it is


def test_a_listed_folder_whose_git_is_elsewhere_is_not_listed(desk: Desk, other: Path, tmp_path: Path):
    shop = tmp_path / "shop"
    (shop / "pointer").mkdir(parents=True)
    (shop / "pointer" / ".git").write_text(f"gitdir: {other}/.git\n")
    git(other, "worktree", "add", "-q", "--detach", str(shop / "linked"))
    shutil.copytree(other / ".git" / "worktrees" / "linked", tmp_path / "forged")
    desk.set(repositories=[str(shop)])
    for name in ("pointer", "linked"):
        assert "none of the settings' repositories" in refusal(desk, repository=str(shop / name))
    desk.set(repositories=[str(shop), str(other)])
    assert desk.prepare({"title": "T", "repository": str(shop / "linked")})


@needs_root
def test_without_a_list_another_users_repository_is_not_worked_in(desk: Desk, other: Path, tmp_path: Path):
    os.chown(other / ".git", NOBODY, -1)
    assert f"belongs to user {NOBODY}" in refusal(desk, repository=str(other))
    assert not (tmp_path / "ran").exists()
    desk.set(repositories=[str(other)])
    assert desk.prepare({"title": "T", "repository": str(other)})
    assert (tmp_path / "ran").exists()  # so the attempt was a real one


def test_what_an_agent_may_have_made_is_no_repository_for_the_next_plan(desk: Desk, other: Path, tmp_path: Path):
    cache, spool = tmp_path / "cache", desk.spool
    desk.set(worktree_root=str(tmp_path / "trees"), sandbox=SandboxSettings.model_validate({"writable": [str(cache)]}))
    inside = desk.repository / "worktrees" / "t-1"
    for folder in (inside, cache, spool / "plans" / "t", tmp_path / "trees" / "t-2"):
        shutil.copytree(other, folder / "made")
        assert "where agents write" in refusal(desk, repository=str(folder / "made"))
    shutil.rmtree(desk.repository / "worktrees")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("entry", "path", "is_listed"),
    [
        ("/srv/git", "/srv/git", True),
        ("/srv/git/", "/srv/git/a/b", True),
        ("/srv/git", "/srv/gitlab", False),
        ("/srv/git/team-*", "/srv/git/team-a", True),
        ("/srv/git/team-*", "/srv/git/team-a/deeper", True),
        ("/srv/*/shop", "/srv/a/b/shop", False),
        ("/srv/*", "/srv", False),
        ("/srv/git", "/srv/git/../secret", False),
        ("/", "/anything", True),
        ("~/code", "{home}/code/x", True),
    ],
)
def test_entries(entry: str, path: str, is_listed: bool):
    path = path.replace("{home}", str(Path.home()))
    assert (why_not_listed([path], ["/nowhere/else", entry]) is None) is is_listed


@pytest.mark.parametrize("entry", ["", "code", "./code", "/srv/../etc"])
def test_entries_that_are_no_whole_path(entry: str):
    with pytest.raises(ValidationError, match="no whole path"):
        Settings.model_validate({"repositories": [entry]})
