"""Where a repository's objects lie, with real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from haikud.workspace.borrowed import object_folders


def test_objects_borrowed_from_a_borrower_are_found(tmp_path: Path):
    for name, source in (("a", None), ("b", "a"), ("c", "b")):
        words = ["init", "-q", name] if source is None else ["clone", "-q", "--shared", "--bare", source, name]
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    assert object_folders(tmp_path / "c") == [
        tmp_path / "c/objects",
        tmp_path / "b/objects",
        tmp_path / "a/.git/objects",
    ]


def test_relative_names_comments_circles_and_what_is_gone_do_no_harm(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name / "objects/info").mkdir(parents=True)
    (tmp_path / "a/objects/info/alternates").write_text("# mine\n../../b/objects\n/no/such/folder\n\n")
    (tmp_path / "b/objects/info/alternates").write_text("../../a/objects\n")
    assert object_folders(tmp_path / "a") == [tmp_path / "a/objects", tmp_path / "b/objects"]
    assert object_folders(tmp_path / "nowhere") == []
