"""Folders that an agent made are removed, whatever it made of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.deep_folders import make_deep

from haikud.workspace.files import drop_odd_entries, remove_entry


def test_a_folder_deeper_than_any_path_is_removed_and_nothing_that_it_links_to(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "folder"
    make_deep(folder / "deep")
    (folder / "link").symlink_to(outside)
    (folder / "deep" / "link").symlink_to(outside)
    remove_entry(folder)
    assert not os.path.lexists(folder)
    assert (outside / "kept").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything with them")
def test_a_folder_that_nobody_may_write_is_removed(tmp_path: Path):
    inner = tmp_path / "cache" / "module"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    inner.parent.chmod(0o000)
    remove_entry(inner.parent)
    assert not os.path.lexists(tmp_path / "cache")


def test_what_git_could_not_have_made_so_deep_is_dropped_and_the_rest_stays(tmp_path: Path):
    make_deep(tmp_path / "git" / "objects")
    (tmp_path / "git" / "objects" / "kept").touch()
    (tmp_path / "git" / "pipe").symlink_to("/etc/passwd")
    assert len(drop_odd_entries(tmp_path / "git")) == 2
    assert (tmp_path / "git" / "objects" / "kept").exists()
    assert not (tmp_path / "git" / "pipe").is_symlink()
