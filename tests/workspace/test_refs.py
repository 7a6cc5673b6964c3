"""Refs read from git's own files say what git itself says, and git is asked where they do not say it plainly."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import git, make_repository

from haikud.workspace import refs
from haikud.workspace.refs import find_ref, has_refs_at, head_branch, is_ref_name, plain_refs, refs_beneath


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "project")


@pytest.fixture
def not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No git process."""

    def refuse(*_: object) -> object:
        raise AssertionError("git was asked")

    monkeypatch.setattr(refs, "Git", refuse)


def tell(project: Path, *names: str) -> None:
    for name in names:
        git(project, "update-ref", name, "HEAD")


@pytest.mark.usefixtures("not_asked")
def test_a_ref_is_found_loose_and_packed_and_as_the_newer_of_both(project: Path):
    common, first = project / ".git", git(project, "rev-parse", "HEAD")
    tell(project, "refs/heads/feature/a", "refs/heads/feature/ab", "refs/tags/v1")
    assert find_ref(common, "refs/heads/feature/a") == first
    git(project, "pack-refs", "--all", "--prune")
    assert not (common / "refs/heads/feature/a").exists()
    assert find_ref(common, "refs/heads/feature/a") == first
    git(project, "commit", "-q", "--allow-empty", "-m", "second")
    git(project, "update-ref", "refs/heads/feature/a", "HEAD")
    assert find_ref(common, "refs/heads/feature/a") == git(project, "rev-parse", "HEAD") != first
    assert find_ref(common, "refs/heads/feature") is None
    assert find_ref(common, "refs/heads/eature/a") is None
    assert find_ref(common, "refs/heads/none/there") is None
    assert find_ref(common, "refs/heads/feature/a/below") is None


def test_what_a_file_does_not_say_plainly_git_says(project: Path):
    common = project / ".git"
    git(project, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert find_ref(common, "refs/heads/alias") == git(project, "rev-parse", "main")
    (common / "refs/heads/emptied").write_bytes(b"\0" * 41)  # what a power cut leaves
    assert find_ref(common, "refs/heads/emptied") is None
    (common / "reftable").mkdir()  # then the files say nothing
    (common / "refs/heads/stray").write_text("0" * 40 + "\n", encoding="ascii")
    assert find_ref(common, "refs/heads/main") == git(project, "rev-parse", "main")


def test_all_beneath_a_name_are_what_git_lists(project: Path):
    common = project / ".git"
    git(project, "tag", "-a", "-m", "words", "annotated")
    tell(project, "refs/tags/light", "refs/remotes/origin/main", "refs/remotes/origin/a/b", "refs/tagsandmore/x")
    git(project, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    names = ("refs/tags", "refs/remotes")
    listed = git(project, "for-each-ref", "--format=%(objectname) %(refname)", *names).splitlines()
    wanted = {name: sha for sha, name in (line.split() for line in listed)}
    assert len(wanted) == 5
    assert refs_beneath(common, names) == wanted
    git(project, "pack-refs", "--all", "--prune")
    tell(project, "refs/tags/later")
    assert refs_beneath(common, names) == wanted | {"refs/tags/later": git(project, "rev-parse", "HEAD")}
    (common / "refs/tags/odd").write_text("what is this\n", encoding="ascii")  # git leaves it out, with a warning
    assert "refs/tags/light" in refs_beneath(common, names)


@pytest.mark.usefixtures("not_asked")
def test_a_name_is_taken_by_a_ref_and_by_those_beneath_it(project: Path):
    common = project / ".git"
    tell(project, "refs/heads/feature/a", "refs/heads/feature/b/below")
    for _ in range(2):
        assert has_refs_at(common, "refs/heads/feature/a")
        assert has_refs_at(common, "refs/heads/feature/b")
        assert not has_refs_at(common, "refs/heads/feature/c")
        assert not has_refs_at(common, "refs/heads/feature/belo")
        git(project, "pack-refs", "--all", "--prune")


def test_head_names_a_branch_or_is_detached(project: Path):
    assert head_branch(project / ".git") == "refs/heads/main"
    git(project, "symbolic-ref", "HEAD", "refs/heads/not/yet")
    assert head_branch(project / ".git") == "refs/heads/not/yet"
    git(project, "checkout", "-q", "--detach", "main")
    assert head_branch(project / ".git") == ""


def test_what_an_agent_wrote_as_refs_is_read_or_left_to_git(project: Path):
    common, head = project / ".git", git(project, "rev-parse", "HEAD")
    tell(project, "refs/heads/one", "refs/tags/two")
    git(project, "pack-refs", "--all", "--prune")
    tell(project, "refs/heads/three")
    (common / "refs/heads/bad..name").write_text(f"{head}\n", encoding="ascii")
    (common / "refs/heads/three.lock").write_text("", encoding="ascii")
    names = ("refs/heads/main", "refs/heads/one", "refs/heads/three", "refs/tags/two")
    assert plain_refs(common) == dict.fromkeys(names, head)
    with (common / "packed-refs").open("a", encoding="utf-8") as file:
        file.write("what is this\n")
    assert plain_refs(common) is None
    (common / "packed-refs").unlink()
    assert plain_refs(common) == {"refs/heads/three": head}
    (common / "refs/heads/link").write_text("ref: refs/heads/three\n", encoding="ascii")
    assert plain_refs(common) is None


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("refs/stash", True),
        ("refs/heads/a", True),
        ("refs/heads/ö-ü/b@c", True),
        ("refs/heads/a.lock", False),
        ("refs/heads/a.lock/b", False),
        ("refs/heads/.a", False),
        ("refs/heads/a.", False),
        ("refs/heads/a..b", False),
        ("refs/heads/a b", False),
        ("refs/heads/a\nb", False),
        ("refs/heads/a~1", False),
        ("refs/heads/a@{1}", False),
        ("refs/heads/a//b", False),
        ("refs/heads/a/", False),
        ("refs/heads/a\\b", False),
        ("heads/a", False),
    ],
)
def test_names_are_gits(project: Path, name: str, is_one: bool):
    assert is_ref_name(name) is is_one
    ran = refs.Git(project / ".git").ask("check-ref-format", name, ok=None)
    assert (ran.exit_code == 0) is is_one or name == "heads/a"
