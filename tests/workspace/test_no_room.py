"""git often says only what it could not write; why is found out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haikud.spool.refusals import refusal_in
from haikud.workspace import git as git_room
from haikud.workspace.git import Git, GitError


def test_a_git_that_fails_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(GitError) as healthy:
        Git(tmp_path).run("rev-parse", "HEAD")
    assert refusal_in(healthy.value.stderr) is None
    facts = os.statvfs(tmp_path)
    monkeypatch.setattr(git_room, "_NO_ROOM_BYTES", facts.f_bavail * facts.f_frsize * 2)
    with pytest.raises(GitError) as full:
        Git(tmp_path).run("rev-parse", "HEAD")
    refusal = refusal_in(full.value.stderr)
    assert refusal is not None
    assert refusal.strerror == "No space left on device"
