"""A fresh spool for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout


@pytest.fixture
def layout(tmp_path: Path) -> SpoolLayout:
    root = tmp_path / "spool"
    open_spool(root)
    return SpoolLayout(root)
