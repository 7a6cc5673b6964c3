"""What is in the way of a plan's branches and worktrees is said before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import make_repository

from haikud.contracts.owner import Owner
from haikud.workspace.git import Git
from haikud.workspace.ownership import owners_folder
from haikud.workspace.repository import inspect_repository
from haikud.workspace.vacancy import find_obstacles


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "project")


def look(project: Path, *refs: str, spool_id: str | None = "ours") -> dict[str, str]:
    facts = inspect_repository(project)
    worktrees = {ref: str(project / "worktrees" / ref) for ref in refs}
    return {ref: str(one) for ref, one in find_obstacles(facts.git_common_dir, worktrees, spool_id).items()}


def branch(project: Path, name: str) -> None:
    Git(project / ".git").run("branch", name)


def own(project: Path, ref: str, spool_id: str) -> None:
    folder = owners_folder(project / ".git")
    folder.mkdir(parents=True, exist_ok=True)
    record = Owner(
        spool_id=spool_id,
        ref=ref,
        branch=f"feature/{ref}",
        worktree=str(project / "worktrees" / ref),
        real_worktree=str(project / "worktrees" / ref),
        start_sha="0" * 40,
    )
    (folder / f"{ref}.json").write_text(record.model_dump_json(), encoding="utf-8")


def test_nothing_is_in_the_way_of_a_new_plan(project: Path):
    assert look(project, "a", "p.one", "p.two") == {}
    assert look(project) == {}


def test_branches_that_are_there_are_named_and_others_are_not(project: Path):
    for name in ("feature/a", "feature/p.two/below", "feature/aa", "other/p.one"):
        branch(project, name)
    found = look(project, "a", "p.one", "p.two")
    assert sorted(found) == ["a", "p.two"]
    assert "git branch -m feature/a NEW-NAME" in found["a"]


def test_another_spools_branch_is_its_own_until_it_is_gone(project: Path):
    for spool_id in ("ours", "theirs"):
        own(project, "a", spool_id)
        branch(project, "feature/a")
        found = look(project, "a")
        assert ("belongs to the haikud spool theirs" in found.get("a", "")) == (spool_id == "theirs")
        Git(project / ".git").run("branch", "-D", "feature/a")
    assert look(project, "a") == {}
    (project / "worktrees" / "a").mkdir(parents=True)
    assert "another id" in look(project, "a")["a"]


def test_a_branch_called_feature_and_a_file_called_worktrees_are_explained(project: Path):
    (project / "worktrees").write_text("mine", encoding="utf-8")
    assert "which is no folder" in look(project, "a")["a"]
    (project / "worktrees").unlink()
    branch(project, "feature")
    assert "git branch -m feature NEW-NAME" in look(project, "a")["a"]
