"""A small real git repository for tests, and git by hand."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CLEAN_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "A Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}

CALCULATOR = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/__init__.py": "",
    "tests/test_calc.py": (
        "import unittest\n\nimport calc\n\n\nclass AddTest(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(calc.add(1, 2), 3)\n"
    ),
    ".gitignore": "__pycache__/\n",
}

TEST_COMMAND = "python3 -m unittest -q"


def git(folder: Path, *args: str) -> str:
    """Run git in a folder as a person would, and give its output without the last newline."""
    done = subprocess.run(
        ["git", *args],
        cwd=folder,
        env={**os.environ, **CLEAN_GIT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
    return done.stdout.rstrip("\n")


@functools.cache
def _calculator() -> Path:
    """The calculator's repository, made once a process and copied from then on."""
    keep = tempfile.TemporaryDirectory(prefix="haikud-tests-")
    atexit.register(keep.cleanup)
    return _make(Path(keep.name) / "calculator", CALCULATOR)


def make_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A repository with one commit on `main`; by default a tiny calculator with a passing test."""
    if files is not None:
        return _make(folder, files)
    shutil.copytree(_calculator(), folder, symlinks=True)
    git(folder, "update-index", "-q", "--refresh")  # the copies have inodes of their own
    return folder


def _make(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", "--template=")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Start")
    return folder
