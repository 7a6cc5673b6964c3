"""What killed writers leave is found by its name, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from haikud.spool.leftovers import is_leftover, remove_leftovers, task_folders

DIES = """
import os, signal, sys
from pathlib import Path
from haikud.spool import durable
def die(self, target): os.kill(os.getpid(), signal.SIGKILL)
Path.rename = die
os.link = die
durable.write_durably(Path(sys.argv[1]), b"never said")
"""


@pytest.mark.parametrize(
    "name", ["decision-0001.json", ".setup-done", "claim", ".p.new", ".taken-0123456789abcdef-a.tmp", ".a.tmp"]
)
def test_what_belongs_there_is_not_taken_for_a_leftover(name: str):
    assert not is_leftover(name)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path):
    attempt = tmp_path / "attempt-1"
    attempt.mkdir()
    (attempt / "result.json").write_text("kept")
    died = subprocess.run([sys.executable, "-c", DIES, str(attempt / "result.json")], check=False)
    assert died.returncode == -9
    assert len(list(attempt.iterdir())) == 2
    removed = remove_leftovers(task_folders(tmp_path))
    assert [path.parent for path in removed] == [attempt]
    assert [path.name for path in attempt.iterdir()] == ["result.json"]
    assert remove_leftovers([tmp_path / "not-there"]) == []


def test_a_living_writers_file_is_spared(tmp_path: Path):
    (tmp_path / f".orders.json.{os.getpid()}-0123abcd.tmp").touch()
    assert remove_leftovers([tmp_path], spare=os.getpid()) == []
    assert len(remove_leftovers([tmp_path])) == 1


def test_a_folder_of_such_a_name_is_left_alone_and_holds_nothing_up(tmp_path: Path):
    (tmp_path / ".a.json.7-0123abcd.tmp").mkdir()
    (tmp_path / ".b.json.7-0123abcd.tmp").touch()
    assert remove_leftovers([tmp_path]) == [tmp_path / ".b.json.7-0123abcd.tmp"]
    assert remove_leftovers([tmp_path]) == []
