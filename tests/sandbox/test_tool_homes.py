"""Which folders make the programs on PATH work."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.sandbox.tool_homes import tool_homes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in (".pyenv/shims", ".cargo/bin", ".cargo/registry", ".rustup", "bin", ".local/bin", ".ssh", "go/bin"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home/.cargo/credentials.toml").write_text("token")
    return tmp_path / "home"


def names(path: str, home: Path) -> set[str]:
    return {str(one.relative_to(home)) for one in tool_homes(path, home) if one.is_relative_to(home)}


def test_a_tool_on_path_brings_what_it_needs_and_never_its_credentials(home: Path):
    assert names(f"{home}/.pyenv/shims:/usr/bin", home) == {".pyenv"}
    assert names(f"{home}/.cargo/bin", home) == {".cargo/bin", ".cargo/registry", ".rustup"}
    assert names(f"{home}/.local/bin:{home}/go/bin", home) == {".local/bin", "go/bin"}
    assert names(f"{home}/bin", home) == {"bin"}


def test_the_home_folder_itself_is_never_among_them(home: Path):
    (home / "pyvenv.cfg").write_text("home = /usr/bin\n")  # makes the home folder look like an environment
    assert home not in tool_homes(f"{home}/bin:{home}", home)
    assert tool_homes(f"{home.parent}:/", home) == []
    (home / "alias").symlink_to(home)
    assert home not in {one.resolve() for one in tool_homes(f"{home}/alias", home)}


def test_a_virtual_environment_comes_whole_with_the_python_it_was_made_from(home: Path):
    made, base = home / "project/.venv", home / ".pyenv/versions/3.11"
    (made / "bin").mkdir(parents=True)
    (base / "bin").mkdir(parents=True)
    (made / "pyvenv.cfg").write_text(f"home = {base}/bin\nversion = 3.11\n")
    assert set(tool_homes(f"{made}/bin", home)) == {made, base}


def test_what_is_no_folder_or_no_absolute_path_is_passed_over(home: Path):
    assert tool_homes(f"::.:bin:{home}/nowhere:{home}/.cargo/credentials.toml", home) == []


def test_a_tool_of_another_home_than_ours_is_whole_too(tmp_path: Path):
    for name in (".pyenv/shims", ".pyenv/versions", ".cargo/bin", ".cargo/registry", ".ssh"):
        (tmp_path / "other" / name).mkdir(parents=True)
    (tmp_path / "other/.cargo/credentials.toml").touch()
    path = f"{tmp_path}/other/.pyenv/shims:{tmp_path}/other/.cargo/bin"
    found = tool_homes(path, tmp_path / "home")
    assert found == [tmp_path / "other" / name for name in (".pyenv", ".cargo/bin", ".cargo/registry")]
    assert tool_homes(path, tmp_path / "other") == found
