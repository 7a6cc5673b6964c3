"""Tests of walls run where the machine can put them up, and say why elsewhere.

Whether it can is asked of bubblewrap and the kernel themselves, not of haikud: a fault of ours must not skip its tests.
"""

from __future__ import annotations

import functools
import subprocess

import pytest

from haikud.sandbox.bwrap import find_bwrap
from haikud.sandbox.landlock import landlock_abi

LEAST = ["--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true"]


@functools.cache
def why_not_here(mode: str) -> str | None:
    """Why the machine has no such walls; None where it does."""
    if mode == "landlock":
        return None if landlock_abi() >= 1 else "this kernel has no Landlock"
    program = find_bwrap()
    if program is None:
        return "bubblewrap is not installed"
    tried = subprocess.run([program, *LEAST], capture_output=True, text=True, timeout=60, check=False)
    return tried.stderr.strip() if tried.returncode else None


@pytest.fixture(autouse=True)
def _walls_work(request: pytest.FixtureRequest) -> None:
    """Skip a test of a mode that cannot be here."""
    spec = getattr(request.node, "callspec", None)
    mode = spec.params.get("mode") if spec is not None else None
    if mode in ("bwrap", "landlock") and (why := why_not_here(mode)) is not None:
        pytest.skip(f"{mode} does not work here: {why}")
