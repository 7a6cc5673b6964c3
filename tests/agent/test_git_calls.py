"""How many git processes an ordinary attempt starts: each costs milliseconds, and they creep back one by one.

A number here may go up only for a reason; docs/adr/0021-git-calls.md says what each of them is for.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.attempts import Bench

from haikud.contracts.states import AttemptOutcome

LISTING_GIT = """#!/bin/sh
for word in "$@"; do
  if [ -n "$skip" ]; then skip=; continue; fi
  case "$word" in -c) skip=1 ;; -*) ;; *) echo "$word" >> "{list}"; break ;; esac
done
exec "{git}" "$@"
"""
REAL_GIT = shutil.which("git")


@pytest.fixture
def calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The git commands that the runner starts, one a line."""
    path, found = bench.root / "calls", bench.root / "bin" / "git"
    found.parent.mkdir()
    found.write_text(LISTING_GIT.format(list=path, git=REAL_GIT), encoding="utf-8")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", f"{found.parent}:/usr/bin:/bin")
    path.touch()
    return path


def run(bench: Bench, calls: Path, script: str, **order: object) -> tuple[list[str], list[str]]:
    """What git was asked before the agent's first instruction, and after its end."""
    bench.order(f'echo agent >> "{calls}"\n{script}', **order)
    calls.write_text("", encoding="ascii")
    assert bench.run().outcome is AttemptOutcome.COMPLETED
    said = calls.read_text(encoding="ascii").split()
    at = said.index("agent")
    return said[:at], said[at + 1 :]


def test_an_ordinary_attempt_asks_git_four_things_with_its_tests(bench: Bench, calls: Path):
    before, after = run(bench, calls, "true", context={"test_command": "true"})
    assert before == ["config", "checkout"]
    assert after == ["status"]
    before, after = run(bench, calls, "true")
    assert before == ["config", "read-tree"]  # somebody may have been there in between: the index is put right
    assert after == ["status"]


def test_what_an_agent_left_is_committed_by_nine(bench: Bench, calls: Path):
    _, after = run(bench, calls, "echo new > new.txt")
    committing = ["rev-parse", "update-index", "write-tree", "commit-tree", "update-ref", "rev-list"]
    assert sorted(after) == sorted(["status", *committing, "rev-list", "diff-tree"])  # some of them side by side


def test_what_an_agent_committed_is_taken_over_by_nine(bench: Bench, calls: Path):
    commit = f'echo new > new.txt; "{REAL_GIT}" add new.txt; "{REAL_GIT}" commit -q -m New'
    _, after = run(bench, calls, commit)
    taking = ["cat-file", "merge-base", "fetch", "read-tree", "rev-list", "diff-tree"]
    # git looks at the files while the disk is waited for
    assert sorted(after) == sorted([*taking, "status", "diff-tree", "rev-list"])
