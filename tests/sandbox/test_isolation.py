"""Isolation modes by name."""

from __future__ import annotations

import pytest

from haikud.sandbox.isolation import Sandbox, UnknownSandbox
from haikud.sandbox.policy import Policy


def test_an_unknown_mode_is_never_a_silent_none():
    with pytest.raises(UnknownSandbox, match="bubblewrap"):
        Sandbox(Policy(mode="bubblewrap"))
