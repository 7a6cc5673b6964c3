"""Nothing outside the worktree is opened or made, with openat2 and without."""

from __future__ import annotations

import os
import socket
from pathlib import Path, PurePosixPath

import pytest

from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.haiku.tools.paths import Beneath

MOST = 1000


@pytest.fixture(params=["openat2", "walk"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Beneath:
    root = tmp_path / "worktree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("a\n")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]\n")
    (tmp_path / "secret").write_text("secret\n")
    made = Beneath(root)
    if request.param == "openat2" and not made.uses_openat2:
        pytest.skip("this kernel has no openat2")
    made._has_openat2 = request.param == "openat2"
    return made


def test_paths_are_taken_relative_and_absolute(files: Beneath, tmp_path: Path):
    inside = tmp_path / "worktree" / "src" / "a.py"
    for path in ("src/a.py", "./src/../src/a.py", str(inside), f"{tmp_path}/worktree/../worktree/src/a.py"):
        relative = files.relative(path)
        assert relative == PurePosixPath("src/a.py")
        assert files.read(relative, MOST) == b"a\n"
    assert files.is_folder(files.relative("."))
    assert files.is_folder(files.relative(str(tmp_path / "worktree")))


@pytest.mark.parametrize("path", ["..", "../secret", "/etc/passwd", "src/../../secret", "/", "a\0b", "~/../../x/../.."])
def test_paths_that_lie_outside_are_refused(files: Beneath, path: str):
    with pytest.raises(BadInput):
        files.relative(path)


@pytest.mark.parametrize("path", [".git", ".git/config", ".git/hooks/pre-commit", "src/.git/config", ".GIT/config"])
def test_gits_own_files_are_refused(files: Beneath, path: str):
    with pytest.raises(BadInput, match="git"):
        files.relative(path)


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "../../", "link"])
def test_symlinks_that_lead_outside_or_nowhere_are_refused(files: Beneath, tmp_path: Path, target: str):
    (tmp_path / "worktree" / "link").symlink_to(target)
    with pytest.raises((BadInput, IsADirectoryError)):
        files.read(PurePosixPath("link"), MOST)
    with pytest.raises(BadInput):
        files.write(PurePosixPath("link"), b"changed")
    assert (tmp_path / "secret").read_text() == "secret\n"


def test_folders_that_are_symlinks_outside_are_refused(files: Beneath, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "worktree" / "link").symlink_to(tmp_path / "elsewhere")
    for path in ("link/new", "link/deeper/new"):
        with pytest.raises(BadInput):
            files.write(PurePosixPath(path), b"x")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(("link", "path"), [("config", "config"), (".", "way/config"), ("hooks", "way/pre-commit")])
def test_symlinks_into_git_are_refused(files: Beneath, tmp_path: Path, link: str, path: str):
    git = tmp_path / "worktree" / ".git"
    (git / "hooks").mkdir()
    place = tmp_path / "worktree" / path.split("/", maxsplit=1)[0]
    place.symlink_to(Path(".git") / link)
    with pytest.raises(BadInput):
        files.write(PurePosixPath(path), b"x")
    assert (git / "config").read_text() == "[core]\n"
    assert list((git / "hooks").iterdir()) == []


def test_symlinks_that_stay_inside_serve_where_the_kernel_checks(files: Beneath, tmp_path: Path):
    (tmp_path / "worktree" / "link").symlink_to("src/a.py")
    if files.uses_openat2:
        assert files.read(PurePosixPath("link"), MOST) == b"a\n"
        files.write(PurePosixPath("link"), b"b\n")
        assert (tmp_path / "worktree" / "link").is_symlink()
        assert (tmp_path / "worktree" / "src" / "a.py").read_text() == "b\n"
    else:
        with pytest.raises(BadInput):
            files.read(PurePosixPath("link"), MOST)


def test_what_is_no_regular_file_is_refused_without_waiting(
    files: Beneath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    os.mkfifo(tmp_path / "worktree" / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        made.bind("worktree/sock")
    for name in ("fifo", "sock"):
        with pytest.raises((BadInput, OSError)):
            files.read(PurePosixPath(name), MOST)
        with pytest.raises((BadInput, OSError)):
            files.write(PurePosixPath(name), b"x")


def test_writing_makes_folders_and_keeps_the_mode(files: Beneath, tmp_path: Path):
    root = tmp_path / "worktree"
    assert files.write(PurePosixPath("new/deep/er.txt"), b"x") is True
    assert (root / "new" / "deep" / "er.txt").read_bytes() == b"x"
    (root / "src" / "a.py").chmod(0o755)
    assert files.write(PurePosixPath("src/a.py"), b"") is False
    assert (root / "src" / "a.py").stat().st_mode & 0o777 == 0o755
    assert (root / "src" / "a.py").read_bytes() == b""


def test_a_file_in_the_way_of_a_folder_is_an_error(files: Beneath):
    with pytest.raises(NotADirectoryError):
        files.write(PurePosixPath("src/a.py/b"), b"x")


def test_large_files_are_refused(files: Beneath, tmp_path: Path):
    (tmp_path / "worktree" / "large").write_bytes(b"x" * (MOST + 1))
    with pytest.raises(BadInput, match="larger"):
        files.read(PurePosixPath("large"), MOST)


def test_no_descriptor_is_left_open(files: Beneath, tmp_path: Path):
    (tmp_path / "worktree" / "link").symlink_to("/etc")
    before = set(Path("/proc/self/fd").iterdir())
    assert files.read(PurePosixPath("src/a.py"), MOST)
    for path in ("link", "link/x", "missing", "src", "src/a.py/x"):
        with pytest.raises((BadInput, OSError)):
            files.read(PurePosixPath(path), MOST)
    assert set(Path("/proc/self/fd").iterdir()) == before
