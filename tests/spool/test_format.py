"""Opening a spool: made once, refused where it is not for us, opened to a group only when asked."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

import pytest
from tests.spool.dying import every_death

from haikud.contracts.states import TaskState
from haikud.spool.format import GROUP_FOLDERS, SpoolFormatError, _identify, open_spool, read_format
from haikud.spool.layout import TOP_FOLDERS, SpoolLayout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_spool_has_all_its_folders_closed_to_others(tmp_path: Path):
    root = tmp_path / "a" / "spool"
    found = open_spool(root)
    assert found.format == 1
    assert uuid.UUID(found.spool_id)
    assert {p.name for p in root.iterdir()} == {*TOP_FOLDERS, "FORMAT"}
    assert {p.name for p in (root / "tasks").iterdir()} == {state.value for state in TaskState}
    assert all(mode(p) == 0o700 for p in (root, *root.rglob("*")) if p.is_dir())
    assert read_format(SpoolLayout(root)) == found


def test_a_spool_keeps_its_identity_and_what_is_in_it(tmp_path: Path):
    (tmp_path / "README.md").write_bytes(b"of the checkout")
    found = open_spool(tmp_path)
    (tmp_path / "responses").chmod(0o755)
    (tmp_path / "tasks" / "queued").rmdir()
    assert open_spool(tmp_path) == found
    assert mode(tmp_path / "responses") == 0o755
    assert (tmp_path / "tasks" / "queued").is_dir()


def test_looking_at_what_is_no_spool_makes_nothing(tmp_path: Path):
    assert read_format(SpoolLayout(tmp_path / "none")) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b'{"format": 2, "spool_id": "x"}', "newer haikud"), (b"", "put FORMAT back"), (b'{"format": 1}', "spool_id")],
)
def test_a_format_that_is_not_ours_is_refused_and_left(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "FORMAT").write_bytes(content)
    with pytest.raises(SpoolFormatError, match=words):
        open_spool(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["FORMAT"]


def test_plans_without_a_format_are_refused(tmp_path: Path):
    open_spool(tmp_path)
    (tmp_path / "plans" / "plan-1").mkdir()
    (tmp_path / "FORMAT").unlink()
    with pytest.raises(SpoolFormatError, match="is missing"):
        open_spool(tmp_path)


def test_a_file_is_no_spool(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolFormatError, match="not a folder"):
        open_spool(tmp_path / "file")


def test_opening_killed_at_any_step_is_finished_by_the_next(tmp_path: Path):
    for number, _ in every_death(lambda n: lambda: open_spool(tmp_path / str(n))):
        root = tmp_path / str(number)
        assert open_spool(root) == read_format(SpoolLayout(root))
        assert {p.name for p in root.iterdir() if not p.name.startswith(".")} == {*TOP_FOLDERS, "FORMAT"}


def test_two_that_open_at_once_agree(tmp_path: Path):
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            try:
                (tmp_path / f"saw-{os.getpid()}").write_text(open_spool(tmp_path / "spool").spool_id)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert {p.read_text() for p in tmp_path.glob("saw-*")} == {open_spool(tmp_path / "spool").spool_id}


def test_the_slower_of_two_takes_the_fasters_identity(tmp_path: Path):
    found = open_spool(tmp_path)
    assert _identify(SpoolLayout(tmp_path)) == found


def test_a_group_gets_the_folders_it_drops_into_and_reads(tmp_path: Path):
    root = tmp_path / "spool"
    open_spool(root)
    open_spool(root, group=str(os.getgid()))
    assert {p.name for p in root.iterdir() if p.is_dir() and mode(p) == 0o2770} == set(GROUP_FOLDERS)
    assert mode(root) == 0o750
    assert mode(root / "plans") == 0o700


def test_an_unknown_group_is_said(tmp_path: Path):
    with pytest.raises(SpoolFormatError, match="no-such-group"):
        open_spool(tmp_path / "spool", group="no-such-group")
    assert list(tmp_path.iterdir()) == []
