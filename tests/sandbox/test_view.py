"""What commands get to see of the machine's files."""

from __future__ import annotations

from pathlib import Path

import pytest

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
