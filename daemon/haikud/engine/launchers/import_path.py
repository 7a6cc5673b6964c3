"""How processes that the daemon starts find our code."""

from __future__ import annotations

import site
from functools import cache
from pathlib import Path

import haikud

SOURCE = Path(haikud.__file__).resolve().parent.parent
"""The folder from which `haikud` is imported."""


def import_path() -> dict[str, str]:
    """PYTHONPATH, where a process of ours would not find `haikud` without it: we run from a source tree."""
    return {} if _is_installed() else {"PYTHONPATH": str(SOURCE)}


@cache
def _is_installed() -> bool:
    return SOURCE in {Path(folder).resolve() for folder in [*site.getsitepackages(), site.getusersitepackages()]}
