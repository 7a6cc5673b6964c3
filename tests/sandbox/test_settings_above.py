"""Tools look upwards for their settings; where names cannot be hidden, those of the checkout can be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.policy import Policy
from haikud.sandbox.settings_above import settings_above


def _checkout(folder: Path) -> Path:
    """A checkout with settings, secrets and a worktree in it. Gives the worktree."""
    subprocess.run(["git", "init", "-q", str(folder / "code")], check=True)
    worktree = folder / "code" / "worktrees" / "one"
    worktree.mkdir(parents=True)
    for name in ("pyproject.toml", ".env", ".npmrc"):
        (folder / "code" / name).write_text("[project]\nname = 'x'\n")
    (folder / "pyproject.toml").touch()
    return worktree


def test_only_regular_files_that_are_settings_by_their_names_and_within_the_checkout(tmp_path: Path):
    worktree = _checkout(tmp_path)
    (tmp_path / "code" / "tox.ini").symlink_to("/etc/hostname")
    assert settings_above(worktree) == [tmp_path / "code" / "pyproject.toml"]


def test_none_where_the_worktree_lies_in_no_checkout(tmp_path: Path):
    (tmp_path / "pyproject.toml").touch()
    assert settings_above(tmp_path / "worktrees" / "one") == []


@pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has no Landlock")
def test_within_landlock_they_can_be_read_and_what_lies_beside_them_cannot(tmp_path: Path):
    worktree = _checkout(tmp_path)
    tried = (
        "for name in pyproject.toml .env .npmrc; do test -f ../../$name && read -r _ < ../../$name || echo $name; done"
    )
    policy = Policy(mode="landlock", writable=(worktree,), readable=tuple(settings_above(worktree)))
    said = bytearray()
    Sandbox(policy).run(
        ["sh", "-c", tried],
        cwd=worktree,
        env={"PATH": "/usr/bin:/bin"},
        timeout=60,
        grace=1,
        on_output=said.extend,
    )
    refused = [line for line in said.decode().splitlines() if line.startswith(".")]
    assert refused == [".env", ".npmrc"], said
    assert b"pyproject.toml" not in said
