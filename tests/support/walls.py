"""Which walls this machine can put up."""

from __future__ import annotations

import functools

import pytest

from haikud.sandbox.landlock import NET_ABI, landlock_abi
from haikud.sandbox.probe import why_not

_why_not = functools.cache(why_not)


def skip_without(mode: str) -> None:
    """Skip the test, with the reason, where that mode does not work here, or cannot hold TCP."""
    if mode == "none":
        return
    if why := _why_not(mode):
        pytest.skip(why)
    if mode == "landlock" and landlock_abi() < NET_ABI:
        pytest.skip("this kernel's Landlock knows no ports")
