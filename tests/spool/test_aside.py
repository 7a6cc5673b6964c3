"""Setting aside: byte for byte, nothing replaced, finished after a crash, under a name that is safe to print."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spool.another_user import NOBODY, as_another_user, needs_root
from tests.spool.dying import every_death

from haikud.spool.aside import LONGEST_STORED_NAME, leave_folder, place_aside, reason_path, stored_name
from haikud.spool.renaming import rename_without_replacing


@pytest.fixture
def rejected(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "rejected").mkdir()
    return tmp_path / "rejected"


def drop(rejected: Path, content: bytes = b"{", name: str = ".taken-0123456789abcdef-a.json") -> Path:
    path = rejected.parent / "incoming" / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.json", "a.json"),
        ("my plan\n.json", "my_plan_.json"),
        ("ünï€.yaml", "_n__.yaml"),
        ("\udcff\udcfe", "__"),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("a.json.reason.json", "a.json.reason_.json"),
        ("\x1b[31m", "_[31m"),
        ("x" * 250 + ".json", "x" * 195 + ".json"),
    ],
)
def test_names_are_safe_to_print(name: str, stored: str):
    assert stored_name(name) == stored


@given(st.text(min_size=1, max_size=300))
def test_any_name_is_stored_under_a_usable_one(name: str):
    stored = stored_name(name)
    assert 1 <= len(stored) <= LONGEST_STORED_NAME
    assert stored.isascii()
    assert stored.isprintable()
    assert "/" not in stored
    assert " " not in stored
    assert stored[0] not in ".-"


TOKEN = "0123456789abcdef"


def move(path: Path, name: str, rejected: Path, token: str = TOKEN) -> str:
    return leave_folder(path, place_aside(path, name, token, rejected), token, rejected)


def test_a_file_is_moved_byte_for_byte_and_never_over_another(rejected: Path):
    names = [move(drop(rejected, b"%d" % n), "a.json", rejected, f"{n:016x}") for n in range(25)]
    assert names[:3] == ["a.json", "a.1.json", "a.2.json"]
    assert names[-1] == f"a.{24:016x}.json"
    assert len(set(names)) == 25
    assert [(rejected / name).read_bytes() for name in names] == [b"%d" % n for n in range(25)]
    assert list((rejected.parent / "incoming").iterdir()) == []


def test_a_name_whose_reason_is_there_is_not_free(rejected: Path):
    reason_path(rejected, "a.json").write_bytes(b"{}")
    assert move(drop(rejected), "a.json", rejected) == "a.1.json"


def test_the_same_file_dropped_twice_by_links_gets_two_names(rejected: Path):
    path = drop(rejected)
    other = path.with_name(".taken-ffffffffffffffff-a.json")
    other.hardlink_to(path)
    assert move(path, "a.json", rejected) == "a.json"
    reason_path(rejected, "a.json").write_bytes(b"{}")
    assert move(other, "a.json", rejected, "f" * 16) == "a.1.json"


def test_a_file_stays_until_its_reason_is_recorded(rejected: Path):
    path = drop(rejected, b"id")
    assert [place_aside(path, "a.json", "0" * 16, rejected) for _ in range(2)] == ["a.json"] * 2
    assert (rejected / "a.json").samefile(path)
    assert leave_folder(path, "a.json", "0" * 16, rejected) == "a.json"
    assert leave_folder(path, "a.json", "0" * 16, rejected) == "a.json"
    assert not path.exists()
    assert (rejected / "a.json").read_bytes() == b"id"


@pytest.mark.parametrize("links", [True, False])
def test_a_move_killed_at_any_step_is_finished_by_the_next(
    rejected: Path, links: bool, monkeypatch: pytest.MonkeyPatch
):
    if not links:
        monkeypatch.setattr("haikud.spool.aside.os.link", refuse_first(os.link))
    for number, ended in every_death(lambda n: lambda: move(drop(rejected), f"{n}.json", rejected)):
        left = rejected.parent / "incoming" / ".taken-0123456789abcdef-a.json"
        if not ended and left.exists():
            assert move(left, f"{number}.json", rejected) == f"{number}.json"
    assert all("." not in path.stem for path in rejected.iterdir() if not path.name.startswith("."))


def refuse_first(link: object) -> object:
    """A link(2) that refuses to link what was taken, as protected_hardlinks does."""

    def linked(source: Path, target: Path, **options: object) -> None:
        if Path(source).name.startswith(".taken-"):
            raise PermissionError(errno.EPERM, "refused", str(source))
        link(source, target, **options)  # type: ignore[operator]

    return linked


def test_what_is_no_file_is_moved_as_it_is(rejected: Path):
    incoming = rejected.parent / "incoming"
    (incoming / "link").symlink_to("/nowhere")
    os.mkfifo(incoming / "fifo")
    (incoming / "folder").mkdir()
    (incoming / "folder" / "inside").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(incoming / "socket"))
        for name in ("link", "fifo", "folder", "socket"):
            (rejected / name).write_bytes(b"there before")
            assert move(incoming / name, name, rejected) == f"{name}.1"
            assert (rejected / name).read_bytes() == b"there before"
    assert (rejected / "link.1").readlink() == Path("/nowhere")
    assert stat.S_ISFIFO((rejected / "fifo.1").lstat().st_mode)
    assert (rejected / "folder.1" / "inside").read_bytes() == b"x"
    assert list(incoming.iterdir()) == []


@needs_root
def test_another_users_files_and_folders_are_set_aside_too(rejected: Path):
    incoming = rejected.parent / "incoming"
    for folder in (incoming, rejected):
        os.chown(folder, NOBODY, NOBODY)
    (incoming / "readable").write_bytes(b"one")
    (incoming / "secret").write_bytes(b"two")
    (incoming / "secret").chmod(0o600)
    (incoming / "large").touch()
    os.truncate(incoming / "large", 1 << 30)
    (incoming / "folder").mkdir(mode=0o755)
    rejected.parent.chmod(0o755)

    def move_all() -> None:
        for name in ("readable", "secret", "large"):
            assert move(Path("incoming", name), name, Path("rejected")) == name
        assert move(Path("incoming/folder"), "folder", Path("rejected"), "0" * 16) == f"../incoming/.odd-{'0' * 16}"

    as_another_user(rejected.parent, move_all)
    assert (rejected / "readable").read_bytes() == b"one"
    assert (rejected / "secret").read_bytes() == b"two"
    assert (rejected / "large").stat().st_size == 1 << 30
    assert [path.name[:5] for path in incoming.iterdir()] == [".odd-"]
    assert not (rejected / "folder").exists()


def test_without_renameat2_nothing_is_replaced_either(rejected: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haikud.spool.renaming.ctypes.CDLL", lambda *_, **__: object())
    (rejected / "b").write_bytes(b"there before")
    (rejected / "folder").mkdir()
    for source in (drop(rejected), rejected / "folder"):
        with pytest.raises(FileExistsError):
            rename_without_replacing(source, rejected / "b")
    rename_without_replacing(drop(rejected), rejected / "c")
    rename_without_replacing(rejected / "folder", rejected / "d")
    assert sorted(path.name for path in rejected.iterdir()) == ["b", "c", "d"]
