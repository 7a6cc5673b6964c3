"""Changes made together: nothing is named before what it leads to is durable, and a failure takes back what it can."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from haikud.spool import syncing
from haikud.spool.batch import Batch
from haikud.spool.syncing import begin_side_by_side, sync_all


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_a_batch_shows_nothing_before_its_commit(tmp_path: Path):
    batch = Batch()
    batch.make_folder(tmp_path / "f")
    batch.write(tmp_path / "f" / "a", b"one")
    batch.write(tmp_path / "b", b"two")
    batch.rename(tmp_path / "b", tmp_path / "c")
    assert [n for n in names(tmp_path) if not n.startswith(".")] == ["f"]
    batch.commit()
    assert names(tmp_path) == ["c", "f"]
    assert (tmp_path / "f" / "a").read_bytes() == b"one"
    assert (tmp_path / "c").read_bytes() == b"two"


def test_a_batch_that_fails_or_is_dropped_leaves_no_temporaries(tmp_path: Path):
    batch = Batch()
    batch.write(tmp_path / "a", b"one")
    batch.rename(tmp_path / "missing", tmp_path / "b")
    batch.write(tmp_path / "c", b"three")
    with pytest.raises(FileNotFoundError, match="cannot rename"):
        batch.commit()
    assert names(tmp_path) == ["a"]
    dropped = Batch()
    dropped.write(tmp_path / "d", b"four")
    dropped.discard()
    dropped.commit()
    assert names(tmp_path) == ["a"]


def test_what_is_written_ahead_goes_with_a_batch_that_is_dropped(tmp_path: Path):
    batch = Batch()
    batch.make_folder(tmp_path / ".new")
    batch.write_ahead(tmp_path / ".new" / "a", b"one")
    batch.symlink_ahead("new/a", tmp_path / "link")
    assert names(tmp_path) == [".new", "link"]
    batch.discard()
    assert names(tmp_path) == [".new"]
    assert names(tmp_path / ".new") == []


def test_a_new_name_replaces_nothing(tmp_path: Path):
    (tmp_path / "b").write_bytes(b"there")
    batch = Batch()
    batch.write_new(tmp_path / "a", b"one")
    batch.write_new(tmp_path / "b", b"two")
    with pytest.raises(FileExistsError):
        batch.commit()
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_bytes() == b"there"


def test_a_rename_is_taken_back_where_its_folder_cannot_be_fsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    batch = Batch()
    batch.make_folder(tmp_path / ".new")
    batch.rename(tmp_path / ".new", tmp_path / "new")
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=f"cannot fsync the folder: no: '{tmp_path}'"):
        batch.commit()
    assert names(tmp_path) == [".new"]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Side by side; the names of the threads that fsync."""
    monkeypatch.setattr(syncing._Syncers, "pool", None)
    begin_side_by_side(4)
    seen: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(threading.current_thread().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    yield seen
    assert syncing._Syncers.pool is not None
    syncing._Syncers.pool.shutdown()


def test_who_is_through_at_once_calls_nobody(tmp_path: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(syncing, "ALONE_SECONDS", 60.0)
    sync_all([tmp_path] * 8)
    assert set(threads) == {threading.current_thread().name}
    assert len(threads) == 8


def test_side_by_side_every_file_is_tried_and_the_first_fault_is_raised(
    tmp_path: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(syncing, "ALONE_SECONDS", 0.0)
    for name in "abc":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"cannot fsync: .*missing"):
        sync_all([tmp_path / "a", tmp_path / "missing", tmp_path / "b", tmp_path / "c", tmp_path])
    assert len(threads) == 4
    assert any(name.startswith("haikud-fsync") for name in threads)


def test_what_cannot_even_be_looked_at_keeps_nothing_from_being_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(syncing._Syncers, "pool", None)
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", seen.append)
    with pytest.raises(OSError, match="cannot fsync: File name too long"):
        sync_all([tmp_path / ("x" * 300), tmp_path])
    assert len(seen) == 1


def test_without_threads_it_is_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(syncing._Syncers, "pool", None)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    begin_side_by_side(4)
    assert syncing._Syncers.pool is None
    sync_all([tmp_path])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_more_than_may_be_open_at_once_are_all_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [tmp_path / f"f{number}" for number in range(2 * syncing.MOST_OPEN + 1)]
    for path in paths:
        path.touch()
    tried: list[str] = []
    most = 0
    before = open_files()

    def fsync(descriptor: int) -> None:
        nonlocal most
        most = max(most, open_files() - before)
        tried.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", fsync)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match="f1"):
        sync_all(paths)
    assert sorted(tried) == sorted(str(path) for path in paths if path.name != "f1")
    assert most <= syncing.MOST_OPEN + 1
    assert open_files() == before
