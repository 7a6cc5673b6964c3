"""Durable writes: whole or not at all, also with kill -9 between any two steps."""

from __future__ import annotations

import ast
import errno
import os
import resource
import stat
import sys
from pathlib import Path

import pytest
from tests.spool.dying import every_death

from haikud.spool import claims, durable, reading
from haikud.spool.durable import (
    append_durably,
    copy_linked,
    make_folder,
    remove_if_there,
    write_durably,
    write_new_durably,
    write_quickly,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("write", [write_durably, write_quickly, write_new_durably])
def test_a_write_is_private_whole_and_leaves_nothing_else(tmp_path: Path, write):
    write(tmp_path / "a.json", b"one")
    assert (tmp_path / "a.json").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("write", [write_durably, write_quickly])
def test_a_write_replaces_and_takes_its_mode_whatever_the_umask(tmp_path: Path, write):
    write(tmp_path / "a", b"one")
    earlier = os.umask(0o077)
    try:
        write(tmp_path / "a", b"two", 0o660)
    finally:
        os.umask(earlier)
    assert (tmp_path / "a").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o660


def test_a_new_file_is_never_put_over_another(tmp_path: Path):
    write_new_durably(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        write_new_durably(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path):
    name = "ä" * 127 + "x"
    write_durably(tmp_path / name, b"one")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("write", [write_durably, write_quickly, write_new_durably])
def test_a_full_disk_is_said_with_path_and_deed_and_leaves_nothing(tmp_path: Path, write):
    target = tmp_path / "a.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # EFBIG: what a full disk looks like without filling one
    try:
        with pytest.raises(OSError, match=r"cannot write") as caught:
            write(target, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(target)
    assert names(tmp_path) == []


def test_a_missing_folder_is_said_as_such(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="cannot write durably"):
        write_durably(tmp_path / "no" / "a", b"")


def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    for _, ended in every_death(lambda _: lambda: write_durably(target, b"new")):
        assert target.read_bytes() == (b"new" if ended else b"old")


def test_folders_are_made_with_those_above_them(tmp_path: Path):
    make_folder(tmp_path / "a" / "b", 0o2770)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o2770
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o2770
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "f")


def test_removing_says_whether_there_was_something(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    assert remove_if_there(tmp_path / "a")
    assert not remove_if_there(tmp_path / "a")


@pytest.mark.parametrize("torn", [b"", b"torn", b"x" * 200_000])
def test_a_torn_last_line_is_cut_off_before_the_next(tmp_path: Path, torn: bytes):
    path = tmp_path / "lines"
    append_durably(path, b"one")
    append_durably(path, b"two\n")
    with path.open("ab") as stream:
        stream.write(torn)
    append_durably(path, b"three", b"four\n")
    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_one_torn_line_starts_afresh(tmp_path: Path):
    path = tmp_path / "lines"
    path.write_bytes(b"y" * 70_000)
    append_durably(path, b"one")
    assert path.read_bytes() == b"one\n"


def test_an_append_that_does_not_fit_leaves_the_lines_as_they_were(tmp_path: Path):
    path = tmp_path / "lines"
    append_durably(path, b"one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="cannot append durably"):
            append_durably(path, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"one\n"


def test_two_lines_in_place_of_one_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="one line"):
        append_durably(tmp_path / "lines", b"a\nb")


def test_a_second_name_is_a_link_and_never_overwrites(tmp_path: Path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    assert copy_linked(source, target)
    assert target.samefile(source)
    (tmp_path / "c").write_bytes(b"other")
    assert not copy_linked(source, tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"other"


def test_a_second_name_is_a_copy_where_a_mode_is_asked_for(tmp_path: Path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    assert copy_linked(source, target, copy_mode=0o660)
    assert not target.samefile(source)
    assert target.read_bytes() == b"one"
    assert stat.S_IMODE(target.stat().st_mode) == 0o660
    assert not copy_linked(source, target, copy_mode=0o660)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
def test_a_second_name_on_another_filesystem_is_a_copy(tmp_path: Path):
    other = Path("/dev/shm") / f"haikud-test-{os.getpid()}"
    other.write_bytes(b"one")
    try:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is no filesystem of its own")
        assert copy_linked(other, tmp_path / "b")
    finally:
        other.unlink()
    assert (tmp_path / "b").read_bytes() == b"one"


def test_what_a_runner_uses_first_imports_only_the_standard_library():
    allowed = {"haikud.spool.durable", "haikud.spool.reading", "haikud.spool.syncing"}
    for module in (durable, claims, reading):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in found:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name in allowed or name.rpartition(".")[0] in allowed, name
