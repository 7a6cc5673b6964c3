"""Tools on PATH that look for themselves in HOME find themselves, though HOME is another one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from haikud.sandbox.tool_variables import tool_variables


def test_what_path_leads_to_names_its_folder_where_that_exists(tmp_path: Path):
    for name in (".cargo/bin", ".rustup", ".pyenv/shims", ".volta"):
        (tmp_path / name).mkdir(parents=True)
    path = f"{tmp_path}/.cargo/bin:{tmp_path}/.pyenv/shims:{tmp_path}/.rbenv/shims:/usr/bin"
    expected = {"RUSTUP_HOME": f"{tmp_path}/.rustup", "PYENV_ROOT": f"{tmp_path}/.pyenv"}
    assert tool_variables(path, tmp_path, {}) == expected


def test_our_own_variable_goes_first_where_it_names_a_folder(tmp_path: Path):
    (tmp_path / "opt/rustup").mkdir(parents=True)
    named = f"{tmp_path}/opt/rustup"
    assert tool_variables("/usr/bin", tmp_path, {"RUSTUP_HOME": named, "PYENV_ROOT": "/no/such"}) == {
        "RUSTUP_HOME": named
    }


def test_rustup_finds_its_toolchain_without_our_home(tmp_path: Path):
    cargo, home = Path("~/.cargo/bin/cargo").expanduser(), Path("~").expanduser()
    path = f"{cargo.parent}:/usr/bin:/bin"
    ours = {"PATH": path, "HOME": str(home)}
    if (
        not (home / ".rustup").is_dir()
        or not cargo.exists()
        or subprocess.run([cargo, "-V"], env=ours, check=False).returncode
    ):
        pytest.skip("no rustup with a toolchain in this home folder")
    alone = {"PATH": path, "HOME": str(tmp_path)}
    assert subprocess.run([cargo, "--version"], env=alone, capture_output=True, check=False).returncode != 0
    subprocess.run([cargo, "--version"], env=alone | tool_variables(path, home, {}), check=True)
