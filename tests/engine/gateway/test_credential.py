"""Where the API's key is found, and that one which others can read is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haikud.engine.gateway.credential import Credential, CredentialFault, find_credential


def key_file(folder: Path, content: str = "sk-ant-1\n", mode: int = 0o600, name: str = "key") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_variable_comes_first_then_the_file_then_systemds(tmp_path: Path):
    given = key_file(tmp_path, "sk-of-systemd", 0o440, "anthropic_api_key")
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    named = str(key_file(tmp_path, "sk-of-the-file"))
    found = find_credential({**systemd, "ANTHROPIC_API_KEY": " sk-of-the-variable "}, named)
    assert found == Credential("sk-of-the-variable", "$ANTHROPIC_API_KEY")
    assert "sk-" not in repr(found)
    for settings, value in ((named, "sk-of-the-file"), (None, "sk-of-systemd"), (str(given), "sk-of-systemd")):
        found = find_credential({**systemd, "ANTHROPIC_API_KEY": ""}, settings)
        assert found is not None
        assert found.value == value
    assert find_credential({}, None) is None
    assert find_credential({"CREDENTIALS_DIRECTORY": str(tmp_path / "empty")}, None) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    path = key_file(tmp_path, mode=mode)
    with pytest.raises(CredentialFault, match=r"open to others.*chmod 600"):
        find_credential({}, str(path))


@pytest.mark.parametrize("content", ["", "two\nlines", "two words", "ünlesbar", "x" * 20_000])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: str):
    with pytest.raises(CredentialFault, match="one key on one line") as refused:
        find_credential({}, str(key_file(tmp_path, content)))
    assert "two" not in str(refused.value)


def test_what_is_no_file_of_ours_is_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, why in (("fifo", "no regular file"), (".", "no regular file"), ("missing", "No such file")):
        with pytest.raises(CredentialFault, match=why):
            find_credential({}, str(tmp_path / name))
    path = key_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        with pytest.raises(CredentialFault, match="belongs to user 12345"):
            find_credential({}, str(path))
