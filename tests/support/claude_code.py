"""The real Claude Code, where it is installed: on PATH, or where $HAIKUD_TEST_CLAUDE says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from haikud.agent.claude_code.judging import HOW_TO_GET_IT


def claude_or_skip() -> Path:
    """The folder that `claude` lies in; the test is skipped where there is none."""
    named = os.environ.get("HAIKUD_TEST_CLAUDE", "")
    found = named if named and os.access(named, os.X_OK) else shutil.which("claude")
    if not found:
        pytest.skip(f"claude is not installed: `{HOW_TO_GET_IT}`, or name it in HAIKUD_TEST_CLAUDE")
    return Path(found).absolute().parent
