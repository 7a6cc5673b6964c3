"""Isolation modes by name."""

from __future__ import annotations

import pytest

from haikud.sandbox.modes import UnknownSandbox, wrap_command


def test_none_runs_the_command_as_it_is():
    assert wrap_command("none", ["bash", "-c", "true"]) == ["bash", "-c", "true"]


def test_an_unknown_mode_is_never_a_silent_none():
    with pytest.raises(UnknownSandbox, match="bubblewrap"):
        wrap_command("bubblewrap", ["true"])
