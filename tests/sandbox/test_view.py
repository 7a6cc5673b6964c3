"""What commands get to see of the machine's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox import view
from haikud.sandbox.policy import Policy


def test_what_is_named_within_a_secret_folder_of_the_system_is_seen_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    secret = tmp_path / "etc" / "haikud"
    role, key = secret / "roles" / "agent.sh", secret / "anthropic_api_key"
    role.parent.mkdir(parents=True)
    role.touch()
    key.touch()
    monkeypatch.setattr(view, "SYSTEM", (str(tmp_path / "etc"),))
    monkeypatch.setattr(view, "_secrets_of_etc", lambda: (secret,))
    seen = view.view_of(Policy(mode="bwrap", readable=(role, tmp_path / "etc")), "/usr/bin")
    assert role in seen.readable
    assert tmp_path / "etc" not in seen.readable
    assert secret in seen.hidden
    assert key not in seen.readable


def test_a_home_and_a_repository_in_a_place_of_the_systems_are_out_of_sight_but_for_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "opt/builder"
    repository = tmp_path / "opt/src/project"
    worktree, objects = repository / "worktrees/mine", repository / ".git/objects"
    for folder in (home / ".ssh", home / ".pyenv/shims", home / ".cache/pip", worktree, objects):
        folder.mkdir(parents=True)
    monkeypatch.setattr(view, "SYSTEM", (str(tmp_path / "opt"),))
    monkeypatch.setattr(view, "_secrets_of_etc", tuple)
    monkeypatch.setenv("HOME", str(home))
    settings = SandboxSettings(writable=["~/.cache/pip"])
    policy = Policy(writable=(worktree,), readable=(objects,), private=(repository,), settings=settings)
    seen = view.view_of(policy, str(home / ".pyenv/shims"))
    assert {home, repository} <= set(seen.hidden)
    assert {objects, home / ".pyenv"} <= set(seen.readable)
    assert {worktree, home / ".cache/pip"} == set(seen.writable)
    parts, _ = view.without(tmp_path / "opt", seen.hidden)
    assert not [one for one in parts if one.is_relative_to(home) or one.is_relative_to(repository)]
    named = view.view_of(Policy(private=(repository,), readable=(tmp_path / "opt/src",)), "/usr/bin")
    assert repository not in named.hidden  # somebody chose to show it


def test_a_python_that_was_installed_into_a_home_folder_opens_no_more_of_it_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prefix = tmp_path / "home/.local"
    for name in ("bin", "lib", "share/keyrings"):
        (prefix / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for attribute in ("base_prefix", "prefix"):
        monkeypatch.setattr(view.sys, attribute, str(prefix))
    seen = view.view_of(Policy(), "/usr/bin")
    assert {prefix / "bin", prefix / "lib"} == set(seen.readable)
    for attribute in ("base_prefix", "prefix"):
        monkeypatch.setattr(view.sys, attribute, str(tmp_path / "home"))
    assert tmp_path / "home" not in view.view_of(Policy(), "/usr/bin").readable


def test_the_socket_of_nixs_daemon_is_in_no_place_of_the_systems():
    assert not view.is_beneath(Path("/nix/var/nix/daemon-socket/socket"), map(Path, view.SYSTEM))
