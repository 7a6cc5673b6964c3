"""A `claude` for tests: a shell script that says what a recorded stream said, and writes down how it was called.

It is no Claude Code: what it does not imitate is tried with the real one in tests/acceptance/test_claude_code.py.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "data" / "claude_code"

_SCRIPT = r"""#!/bin/bash
cd {folder}
n=$(ls -d call-* 2>/dev/null | wc -l)
n=$((n + 1)); mkdir call-$n; cat > call-$n/stdin; printf '%s\n' "$@" > call-$n/argv; env -0 > call-$n/environment
source ./run-$n
"""


@dataclass
class FakeClaude:
    """The script in a folder of its own, and one agent's `$HAIKUD_OUT`."""

    root: Path

    def __post_init__(self) -> None:
        self.folder = self.root / "claude"
        self.out = self.root / "out"
        self.worktree = self.root / "worktree"
        for folder in (self.folder, self.out, self.worktree):
            folder.mkdir(parents=True, exist_ok=True)
        program = self.folder / "claude"
        program.write_text(_SCRIPT.replace("{folder}", shlex.quote(str(self.folder))), encoding="utf-8")
        program.chmod(0o755)
        self.plan: dict[str, Any] = {"task_id": "t", "title": "Add sub", "context": {"test_command": "make test"}}

    def next(self, number: int, script: str) -> None:
        """What the call of that number does."""
        (self.folder / f"run-{number}").write_text(f"{script}\n", encoding="utf-8")

    def says(self, number: int, recorded: str, code: int = 0) -> None:
        """The call of that number says what was recorded."""
        self.next(number, f"cat {shlex.quote(str(RECORDED / recorded))}.jsonl; exit {code}")

    def environment(self, **more: str) -> dict[str, str]:
        """The environment that a command agent gets."""
        plan = self.root / "plan.json"
        plan.write_text(json.dumps(self.plan), encoding="utf-8")
        return {
            "PATH": f"{self.folder}:{os.defpath}",
            "HOME": str(self.out),
            "TASK_PLAN_FILE": str(plan),
            "WORKTREE_PATH": str(self.worktree),
            "BRANCH_NAME": "feature/t",
            "HAIKUD_OUT": str(self.out),
            "HAIKUD_ATTEMPT": "1",
            "HAIKUD_MODEL": "claude-haiku-5-5",
            "HAIKUD_MAX_COST_USD": "0.500000",
            **more,
        }

    def start(self, **more: str) -> subprocess.Popen[str]:
        """Start the adapter as the runner does."""
        return subprocess.Popen(
            [sys.executable, "-Ps", "-m", "haikud.agent.claude_code"],
            cwd=self.worktree,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *, seconds: float = 60.0, **more: str) -> tuple[int, str]:
        """Run the adapter; its exit code and what it printed."""
        process = self.start(**more)
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said

    def report(self) -> dict[str, Any]:
        """Its result.json."""
        found = json.loads((self.out / "result.json").read_bytes())
        assert isinstance(found, dict)
        return found

    def argv(self, number: int) -> list[str]:
        """How it was called."""
        return (self.folder / f"call-{number}" / "argv").read_text(encoding="utf-8").splitlines()

    def prompt(self, number: int) -> str:
        """What it was told."""
        return (self.folder / f"call-{number}" / "stdin").read_text(encoding="utf-8")

    def saw(self, number: int) -> dict[str, str]:
        """Its environment."""
        data = (self.folder / f"call-{number}" / "environment").read_text(encoding="utf-8")
        return dict(entry.split("=", 1) for entry in data.split("\0") if entry)
