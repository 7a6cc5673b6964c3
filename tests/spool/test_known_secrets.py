"""Which secrets a process knows: from its environment and the settings, never more than it may."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from haikud.contracts.settings import SecretSettings, Settings
from haikud.spool.known_secrets import UnreadableSecrets, find_secrets


def chosen(**settings: object) -> Settings:
    return Settings.model_validate(settings)


def test_what_looks_secret_by_its_name_is_masked_and_only_what_is_named_is_given():
    environ = {
        "DB_PASSWORD": "from-the-daemon-1",
        "DEPLOY_LOGIN": "Login-and-more",
        "PATH": "/usr/bin:/bin",
        "SIGNING_KEY": "/etc/keys/signing.pem",
        "PWD": "/home/somebody/1",
        "MAX_TOKEN": "100000",
        "MODE_TOKEN": "production",
    }
    values = {"API_TOKEN": "of-the-settings-1", "COLOUR": "a-very-blue-one"}
    known = find_secrets(environ, chosen(secrets={"names": ["DEPLOY_LOGIN"]}, environment={"set_values": values}))
    assert dict(known.masked) == {
        "Login-and-more": "DEPLOY_LOGIN",
        "from-the-daemon-1": "DB_PASSWORD",
        "of-the-settings-1": "API_TOKEN",
    }
    assert dict(known.given) == {"DEPLOY_LOGIN": "Login-and-more"}
    assert known.warnings == ()
    assert "Login-and-more" not in repr(known)


def test_files_hold_values_or_assignments(tmp_path: Path):
    file = tmp_path / "secrets.env"
    file.write_text(
        "# a comment line\n\nplain-value-1\nexport NAME='quoted-value-2'\nOTHER=dmFsdWUtMw==\nshort\nbGluZS00bGluZQ==\n"
    )
    link = tmp_path / "link"
    link.symlink_to(file)  # as mounted secrets are
    known = find_secrets({}, chosen(secrets={"files": [str(link)]}))
    assert list(known.masked) == ["plain-value-1", "quoted-value-2", "dmFsdWUtMw==", "bGluZS00bGluZQ=="]
    assert set(known.masked.values()) == {"from link"}


def test_a_file_that_cannot_be_read_is_no_reason_to_go_on_without(tmp_path: Path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(UnreadableSecrets, match=str(place)):
            find_secrets({}, chosen(secrets={"files": [str(place)]}))


def test_what_cannot_be_masked_or_passed_on_is_said_without_its_value():
    settings = chosen(secrets={"names": ["PIN", "A_TOKEN"]}, environment={"pass_names": ["A_TOKEN"]})
    known = find_secrets({"PIN": "1234", "A_TOKEN": "long-enough-1"}, settings)
    assert len(known.warnings) == 2
    assert "PIN" in known.warnings[0]
    assert "A_TOKEN" in known.warnings[1]
    assert "1234" not in " ".join(known.warnings)


@pytest.mark.parametrize("name", ["PATH", "HOME", "", "A B", "-x", "1X"])
def test_a_name_that_cannot_be_kept_secret_is_refused(name: str):
    with pytest.raises(ValidationError):
        SecretSettings(names=[name])
