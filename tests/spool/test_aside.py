"""Setting aside: byte for byte, nothing replaced, finished after a crash, under a name that is safe to print."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spool.another_user import NOBODY, as_another_user, needs_root
from tests.spool.dying import every_death

from haikud.spool.aside import LONGEST_STORED_NAME, move_aside, reason_path, stored_name
from haikud.spool.drops import DropFolder


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


def test_a_file_is_moved_byte_for_byte_and_never_over_another(rejected: Path):
    names = [move_aside(drop(rejected, b"%d" % n), "a.json", rejected) for n in range(25)]
    assert names[:3] == ["a.json", "a.1.json", "a.2.json"]
    assert len(set(names)) == 25
    assert [(rejected / name).read_bytes() for name in names] == [b"%d" % n for n in range(25)]
    assert list((rejected.parent / "incoming").iterdir()) == []


def test_a_name_whose_reason_is_there_is_not_free(rejected: Path):
    reason_path(rejected, "a.json").write_bytes(b"{}")
    assert move_aside(drop(rejected), "a.json", rejected) == "a.1.json"


def test_a_file_can_stay_until_its_reason_is_recorded(rejected: Path):
    (rejected.parent / "incoming" / "a.json").write_bytes(b"id")
    drops = DropFolder(rejected.parent / "incoming", max_bytes=100, settle_seconds=0.0)
    (taken,) = drops.scan().ready
    stored = drops.set_aside(taken, rejected, keep_taken=True)
    reason_path(rejected, stored).write_bytes(b"{}")
    assert drops.set_aside(taken, rejected, keep_taken=True) == stored == "a.json"
    assert [one.token for one in drops.left_over()] == [taken.token]
    drops.finish(taken)
    assert (rejected / stored).read_bytes() == b"id"
    assert drops.left_over() == []


def test_a_move_killed_at_any_step_is_finished_by_the_next(rejected: Path):
    for number, ended in every_death(lambda n: lambda: move_aside(drop(rejected), f"{n}.json", rejected)):
        left = rejected.parent / "incoming" / ".taken-0123456789abcdef-a.json"
        if not ended and left.exists():
            assert move_aside(left, f"{number}.json", rejected) == f"{number}.json"
    assert all("." not in path.stem for path in rejected.iterdir())


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
            assert move_aside(incoming / name, name, rejected) == f"{name}.1"
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
    (incoming / "folder").mkdir(mode=0o755)
    rejected.parent.chmod(0o755)

    def move() -> None:
        for name in ("readable", "secret"):
            assert move_aside(Path("incoming", name), name, Path("rejected")) == name
        hidden = move_aside(Path("incoming/folder"), "folder", Path("rejected"))
        assert hidden.startswith("../incoming/.odd-")

    as_another_user(rejected.parent, move)
    assert (rejected / "readable").read_bytes() == b"one"
    assert (rejected / "secret").read_bytes() == b"two"
    assert [path.name[:5] for path in incoming.iterdir()] == [".odd-"]
    assert not (rejected / "folder").exists()
