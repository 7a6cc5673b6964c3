"""The real Claude Code, where it is installed: on PATH, or where $HAIKUD_TEST_CLAUDE says.

CI fetches it from npm while it does other things: `npm.ended` in the folder that npm was given says that it has done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from haikud.agent.claude_code.judging import HOW_TO_GET_IT


def claude_or_skip() -> Path:
    """The folder that `claude` lies in; the test is skipped where there is none."""
    named = os.environ.get("HAIKUD_TEST_CLAUDE", "")
    npm = Path(named).parents[2] if named.endswith("/node_modules/.bin/claude") else None
    if npm is not None and (npm / "npm.log").exists():
        wait_until((npm / "npm.ended").exists, seconds=60, what=f"npm to end in {npm}")
    found = named if named and os.access(named, os.X_OK) else shutil.which("claude")
    if not found:
        pytest.skip(f"claude is not installed: `{HOW_TO_GET_IT}`, or name it in HAIKUD_TEST_CLAUDE")
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode != 0:
        pytest.skip(f"{found} does not run: {asked.stderr[-300:]}")
    return Path(found).absolute().parent
